"""Log lines: each is safe and whole, and line breaks are escaped once at most."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from probed.cli.logs import _ForPeople, _ForPrograms, _ForTheJournal
from probed.text.redact import Redactor

MESSAGE = (
    "the configuration was not reloaded:\nprobed.yaml:3: no \x1b[31msuch\r key\nprobed.yaml:9: x"
)
SECRET = "-----BEGIN KEY-----\nMIIB0123456789\n-----END KEY-----"


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("probed.config", logging.ERROR, "f.py", 1, "%s", (message,), None)


@pytest.fixture
def shown() -> Callable[[type[logging.Formatter], str], str]:
    return lambda kind, text: kind(Redactor([SECRET])).format(record(text))  # type: ignore[call-arg, arg-type]


def test_json_escapes_line_breaks_once(shown: Callable[..., str]) -> None:
    line = shown(_ForPrograms, MESSAGE)
    assert "\n" not in line
    assert json.loads(line)["message"] == (
        "the configuration was not reloaded:\nprobed.yaml:3: no \\x1b[31msuch\\x0d key\nprobed.yaml:9: x"
    )


def test_people_see_lines_and_none_looks_like_another_message(shown: Callable[..., str]) -> None:
    first, *others = shown(_ForPeople, MESSAGE).split("\n")
    assert first.endswith(" error   the configuration was not reloaded:")
    assert others == ["    probed.yaml:3: no \\x1b[31msuch\\x0d key", "    probed.yaml:9: x"]


def test_the_journal_gets_one_entry(shown: Callable[..., str]) -> None:
    assert shown(_ForTheJournal, "two\nlines") == r"<3>two\x0alines"


def test_a_secret_of_several_lines_is_masked(shown: Callable[..., str]) -> None:
    for kind in (_ForPrograms, _ForPeople, _ForTheJournal):
        assert "MIIB" not in shown(kind, f"found {SECRET} there")


def test_a_message_is_bounded(shown: Callable[..., str]) -> None:
    for text in ("x" * 100_000, "x\n" * 100_000, "x\n" * 60):
        line = shown(_ForPeople, text)
        assert len(line) < 10_000
        assert line.endswith("…")
