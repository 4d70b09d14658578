"""What differs between two configurations."""

from collections.abc import Callable
from typing import Any

import pytest

from probed.config import Check, Config
from probed.config.diff import compare, lines
from probed.config.show import View

Read = Callable[..., Config]


def text(changed: int, timeout: str) -> str:
    listed = [
        f"- {{name: c{n}, probe: line, address: 'h:{n + 1}'"
        + (f", timeout: {timeout}}}" if n == changed else "}")
        for n in range(100)
    ]
    return "checks:\n" + "\n".join(listed)


def test_only_checks_that_differ_are_written_out(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing them all out stopped the event loop for seconds where there are thousands."""
    written: list[str] = []
    real = View.check

    def check(self: View, check: Check) -> dict[str, Any]:
        written.append(check.name)
        return real(self, check)

    monkeypatch.setattr(View, "check", check)
    changes = compare(read(text(5, "3s")), read(text(5, "4s")))
    assert lines(changes) == ["~ c5: timeout 3s -> 4s"]
    assert written == ["c5", "c5"]
    assert not compare(read(text(5, "3s")), read("# moved\n" + text(5, "3s")))
