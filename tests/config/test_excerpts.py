"""Excerpts of invalid files show no secret, wherever the file is broken and wherever the caret falls."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probed.config import ConfigError, loads
from probed.config.excerpt import Excerpts
from probed.registry import Registry
from probed.text.redact import Redactor

CANARY = "Hq7canaryZx"
TEXT = f"""\
service:
  access: {{admin: "{CANARY}01"}}
  listen: 127.0.0.1:9611
telemetry:
  otlp:
    headers:
      x-api-key: {CANARY}02
      authorization: 'Basic {CANARY}03='
checks:
  - name: one
    probe: gateway
    url: "https://user:{CANARY}04@example.com/?a=b&api_key={CANARY}05&c=d"
    headers: {{Authorization: Bearer {CANARY}06, Cookie: "sid={CANARY}07; x={CANARY}08"}}
  - {{name: two, probe: smtp, password: "{CANARY}09", username: bob, passphrase: {CANARY}10}}
  - name: three
    password: >-
      {CANARY}11
      and {CANARY}12
    token: "{CANARY}13
      {CANARY}14"
    client_secret:
      - {CANARY}15
      - value: {CANARY}16
    dsn: postgres://bob:{CANARY}17@db/x
    passwords:
    - {CANARY}18
"""
BREAKS = ('"', "'", "{", "}", "[", "]", ": ", "\t", "- ", "&", "*", "!", "%", "@", "`", "|", ">", "\n", "\n\t",
          "\x00", "#", "? ", ", ", "\\")  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def message(text: str, registry: Registry) -> str:
    try:
        loads(text, registry, name="probed.yaml", environ={})
    except ConfigError as error:
        return str(error)
    return ""


def broken() -> Iterator[str]:
    """The file with something inserted, something removed, or cut off, at many places."""
    chosen = random.Random(11)
    for start in range(len(TEXT)):
        yield TEXT[:start] + chosen.choice(BREAKS) + TEXT[start:]
        if start % 3 == 0:
            yield TEXT[:start] + TEXT[start + chosen.choice((1, 2, 5)) :]
            yield TEXT[:start]


@pytest.mark.timeout(120)
def test_a_file_that_is_broken_anywhere_shows_no_secret(registry: Registry) -> None:
    seen = 0
    for text in broken():
        said = message(text, registry)
        seen += bool(said)
        if "not valid YAML" in said or "may not stand in a YAML file" in said:
            assert CANARY not in said, f"{said}\n\nof\n\n{text}"
    assert seen > len(TEXT)


@given(st.integers(0, TEXT.count("\n")), st.integers(0, 120), st.integers(0, len(TEXT)))
@example(11, 36, 0)
@settings(max_examples=500, deadline=None)
def test_wherever_the_caret_falls_no_secret_is_shown(row: int, column: int, place: int) -> None:
    for text in (TEXT, TEXT[:place] + '"' + TEXT[place:]):
        shown = Excerpts(text).show((row, column), Redactor(), valid=False)
        assert CANARY not in shown, shown


@pytest.mark.parametrize("column", range(60))
@pytest.mark.parametrize(
    "line",
    [
        'url: "https://h/?a=b"&api_key={}',
        'url: "https://h/?a=b&api_key={}"',
        "- {{api_key:{}, x: y}}",
        "password={}",
        "  PASSWORD :{}",
        "url: https://u:{}@h/",
        "Authorization: Bearer {}",
    ],
)
def test_the_caret_does_not_part_a_secret_from_what_makes_it_one(line: str, column: int) -> None:
    excerpt = Excerpts(line.format(CANARY)).show((0, column), Redactor(), valid=False)
    assert CANARY[2:] not in excerpt, excerpt


@pytest.mark.parametrize("valid", [False, True])
def test_known_secrets_are_masked_where_the_caret_is_within_them(*, valid: bool) -> None:
    line = f"user: {CANARY} and more"
    for column in range(len(line)):
        shown, caret = Excerpts(line).show((0, column), Redactor([CANARY]), valid=valid).split("\n")
        assert shown == "    user: [redacted] and more"
        assert len(caret) <= len(shown) + 1


def test_what_is_no_secret_is_shown_with_the_caret_in_its_place() -> None:
    excerpts = Excerpts("checks:\n  - {name: web, probe gateway}\n")
    assert excerpts.show((1, 16), Redactor(), valid=False) == (
        "      - {name: web, probe gateway}\n                    ^"
    )


@pytest.mark.parametrize("line", ["a" * 1_000_000, "=1" * 500_000, "key: " * 200_000])
def test_a_long_line_costs_little(line: str) -> None:
    for text in (line, f"{line}\nx: y"):
        shown = Excerpts(text).show((text.count("\n"), 3), Redactor(), valid=False)
        assert len(shown) < 300
