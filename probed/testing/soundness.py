"""Invariants of every Result, whatever the peer did."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from math import isfinite
from typing import Any

import anyio

from probed.config import Check
from probed.engine.executor import Executor
from probed.engine.references import References
from probed.engine.runner import Runner
from probed.model import Outcome, Result
from probed.probe import MEMORY_LIMIT, Probe
from probed.reasons import Reason
from probed.testing.tcp_behaviours import CANARY

TEXT_LIMIT = 4096
RESULT_LIMIT = 128 << 10
"""Maximum bytes of a Result with its evidence, as JSON."""
_HOSTILE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)
_ROUNDING = 1e-6


def assert_sound(probe: Probe, result: Result) -> None:
    """Raise AssertionError if a Result violates an invariant."""
    _check_reasons(probe, result)
    _check_measures(probe, result)
    _check_phases(result)
    _check_texts(probe, result)
    size = len(json.dumps(plain(result), allow_nan=False))
    assert size <= RESULT_LIMIT, f"the result takes {size} bytes"


def assert_memory(memory: Mapping[str, Any]) -> None:
    """Raise AssertionError unless the memory of a check is small and JSON-able."""
    text = json.dumps(memory, allow_nan=False)
    assert len(text) <= MEMORY_LIMIT, f"the memory takes {len(text)} bytes"
    assert CANARY not in text, "the memory holds a secret"


async def assert_commits(runner: Runner, check: Check) -> None:
    """Raise AssertionError unless runs leave the memory that they were given as it was, also when they
    are cancelled half-way.
    """
    executor = Executor(runner, References(runner, ()))
    known = await executor.run(check)
    assert_memory(known.memory)
    before = json.dumps(known.memory)
    for share in (0.1, 0.5, 0.9):
        with anyio.move_on_after(known.result.duration_s * share):
            await executor.run(check, known.memory)
        assert json.dumps(known.memory) == before, "a cancelled run has left something"
    await executor.run(check, known.memory)
    assert json.dumps(known.memory) == before, "a run has changed what it was given"
    assert executor.places.running == 0


def assert_failed(result: Result, reason: str) -> None:
    """Raise AssertionError unless the run failed with this reason, or one of this area (`tls.`)."""
    assert result.outcome is Outcome.FAILED, f"{result.outcome}: {result.findings}"
    assert_reason(result, reason)


def assert_reason(result: Result, reason: str) -> None:
    """Raise AssertionError unless the worst finding has this reason, or one of this area."""
    found = str(result.worst.reason) if result.worst else ""
    assert found == reason or (reason[-1:] in {"", "."} and found.startswith(reason)), (
        f"found {found}, not {reason}: {result.findings}"
    )


def named_types(types: Iterable[type], packages: Container[str]) -> Counter[str]:
    """Return how often each type of these packages occurs, but for those of `probed.testing`."""
    names = (f"{each.__module__}.{each.__qualname__}" for each in types)
    return Counter(
        name
        for name in names
        if name.partition(".")[0] in packages and not name.startswith("probed.testing.")
    )


def plain(value: Any) -> Any:
    """Return the value with its JSON types; json.dumps rejects what cannot be converted."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _check_reasons(probe: Probe, result: Result) -> None:
    known = {str(reason) for reason in (*Reason, *(type(probe).reasons or ()))}
    for finding in result.findings:
        assert finding.reason in known, f"{finding.reason} is in no set of reasons"
        assert finding.reason != Reason.INTERNAL, f"the probe itself failed: {finding.message}"
        assert finding.message, f"{finding.reason} says nothing"
    worst = max((f.level for f in result.findings), key=_rank, default=Outcome.OK)
    assert result.outcome is worst, f"the outcome is {result.outcome}, the worst finding {worst}"
    if result.outcome is not Outcome.OK:
        assert result.worst is not None, "nothing explains the outcome"


def _rank(outcome: Outcome) -> int:
    return outcome.rank


def _check_measures(probe: Probe, result: Result) -> None:
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for measurement in result.measures:
        measure = measurement.measure
        assert probe.declared.get(measure.name) == measure, f"{measure.name} is not declared"
        given = {key for key, _ in measurement.attributes}
        assert given == set(measure.attributes), f"{measure.name} has the attributes {given}"
        assert isfinite(measurement.value), f"{measure.name} is {measurement.value}"
        seen.add((measure.name, measurement.attributes))
    for name in {name for name, _ in seen}:
        count = sum(1 for other, _ in seen if other == name)
        assert count <= probe.declared[name].series, f"{name} has {count} series"


def _check_phases(result: Result) -> None:
    last = 0.0
    for phase in result.phases:
        assert phase.name, "a phase has no name"
        assert phase.start_s >= last, f"the phase {phase.name} is out of order"
        assert phase.duration_s >= 0, f"the phase {phase.name} ends before it starts"
        end = phase.start_s + phase.duration_s
        assert end <= result.duration_s + _ROUNDING, f"the phase {phase.name} outlives the run"
        last = phase.start_s


def _check_texts(probe: Probe, result: Result) -> None:
    assert CANARY not in repr(probe), "repr(probe) shows a secret"
    for text in _texts(plain(result)):
        assert CANARY not in text, f"a secret is shown: {text!r}"
        assert not _HOSTILE.search(text), f"foreign text was not made safe: {text!r}"
        assert len(text) <= TEXT_LIMIT, f"a text of {len(text)} characters: {text[:80]!r}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
