"""Numbers of conformance suites are shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def numbers(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines that are shown whatever becomes of the test."""
    lines: list[str] = []
    yield lines
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        print("", *lines, sep="\n")
