"""What the tests of the gateway kind share: an answer over a real wire, and what is found in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probed.testing.leaks import no_leaks
from probed.testing.webserver import Answer, http_server
from probes.gateway import GatewayProbe

Asked: TypeAlias = Callable[..., Awaitable[Result]]
"""`await asked(url, timeout=2.0, memory=None, **settings)`: one run of a gateway probe."""
Answered: TypeAlias = Callable[..., Awaitable[Result]]
"""`await answered(Answer(...), **settings)`: one run, of a server that gives that answer."""


async def ask(
    url: str, *, timeout: float = 2.0, memory: dict[str, Any] | None = None, **settings: Any
) -> Result:
    async with no_leaks():
        return await execute(
            GatewayProbe(url=url, **settings), network=Network(), timeout=timeout, memory=memory
        )


@pytest.fixture
def asked() -> Asked:
    return ask


@pytest.fixture
def answered() -> Answered:
    async def answer_it(answer: Answer, **settings: Any) -> Result:
        async with http_server({"/": answer}) as server:
            return await ask(server.url(), **settings)

    return answer_it


@pytest.fixture
def found() -> Callable[[Result], list[tuple[str, str]]]:
    def pairs(result: Result) -> list[tuple[str, str]]:
        return [(finding.level.value, str(finding.reason)) for finding in result.findings]

    return pairs
