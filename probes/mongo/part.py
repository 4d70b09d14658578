"""One node's part of a run: it names the node where there are several, and judges nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from probed import HostPort, Measure, Outcome, ProbeError, Reasons, Run, Thresholds
from probes.mongo.reading import Document, documents
from probes.mongo.wire import REPLY_LIMIT

NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Call:
    """One command: its name is the document's first key. `right` is what our user needs for it;
    `budget` are the seconds that it may take, `limit` the bytes that its reply may have.
    """

    database: str
    command: Mapping[str, Any]
    right: str
    budget: float = 1.0
    collection: str = ""
    limit: int = REPLY_LIMIT

    @property
    def operation(self) -> str:
        return next(iter(self.command))


class CommandError(ProbeError):
    """The server returned an error for a command. The errmsg is not kept: it may hold anything."""

    def __init__(self, reason: Reasons, message: str | None, level: Outcome, code: int) -> None:
        super().__init__(reason, message, level=level)
        self.code = code


class Lost(ProbeError):  # noqa: N818  # a state of the connection, too
    """The connection is no good any more, or could not be made."""


class SendCommand(Protocol):
    """Sends a command as the phase of that name; raises ProbeError, a CommandError where the server
    answered with an error.
    """

    def __call__(self, phase: str, call: Call) -> Awaitable[Document]: ...


async def more(send: SendCommand, phase: str, call: Call) -> list[Document]:
    """Documents that only add to what is known: none where the server does not give them."""
    try:
        return documents(await send(phase, call), "cursor", "firstBatch")
    except (CommandError, Lost):
        return []


@dataclass(slots=True)
class NodePart:
    """One node's part of the run: `run` holds what is found and measured of it. `role` is what it
    reports: standalone, primary, secondary, arbiter, mongos or other; empty as long as it has not
    answered. `memory` is what is remembered of this node.
    """

    run: Run
    address: HostPort
    memory: MutableMapping[str, Any]
    role: str = ""
    hello: Document = field(default_factory=dict)
    members: Document | None = None

    def measure(self, measure: Measure, value: float | None, **attributes: str) -> None:
        """Give it its value, of this node; attributes with a dot are written with `__`."""
        if value is not None:
            where = {"server.address": self.address.host, "server.port": str(self.address.port)}
            for key, text in attributes.items():
                where[key.replace("__", ".")] = text
            self.run.measure(measure.name, value, where)

    def find(
        self,
        level: Outcome,
        reason: Reasons,
        message: str | None = None,
        evidence: Mapping[str, Any] = NOTHING,
    ) -> None:
        """Record a finding; without evidence, the remedy of its reason is shown."""
        self.run.find(level, reason, message, evidence=_or_remedy(evidence, reason))

    def judge(
        self,
        value: float,
        bounds: Thresholds,
        reason: Reasons,
        message: Callable[[float], str],
        evidence: Mapping[str, Any] = NOTHING,
    ) -> None:
        """As `Run.judge`; without evidence, the remedy of its reason is shown."""
        self.run.judge(value, bounds, reason, message, evidence=_or_remedy(evidence, reason))


def _or_remedy(evidence: Mapping[str, Any], reason: Reasons) -> Mapping[str, Any]:
    return evidence or ({"remedy": reason.remedy} if reason.remedy else {})
