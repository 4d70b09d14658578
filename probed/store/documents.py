"""The documents in the rows of the store: JSON, written strictly and read tolerantly."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from math import isfinite
from typing import Any, TypeAlias

from probed.documents import result_document, result_of
from probed.model import Outcome, Result, Transition, Verdict
from probed.state import CheckState

log = logging.getLogger("probed.store")

MEMORY_LIMIT = 64 * 1024
"""Bytes of one check's memory as JSON."""

_FORMER_KEYS = {
    "failed_streak": "failed",
    "not_ok_streak": "poor",
    "not_failed_streak": "fair",
    "ok_streak": "good",
    "unknown_streak": "unjudged",
}
"""Names under which version 0.1 stored the streaks."""


Clean: TypeAlias = Callable[[str], str]
"""Returns a text without secrets."""


def write_check(
    name: str,
    kind: str,
    target: str,
    state: CheckState,
    memory: Mapping[str, Any],
    clean: Clean = str,
) -> str | None:
    """Return the document. A memory that cannot be stored is logged and left out; texts in it pass
    `clean`.
    """
    for attempt in (memory, {}):
        try:
            text = json.dumps(
                {
                    "check": name,  # first: a corrupt file is searched for it
                    "kind": kind,
                    "target": target,
                    "state": {
                        f.name: value
                        for f in fields(CheckState)
                        if (value := getattr(state, f.name)) != f.default
                    },
                    "memory": _cleaned(attempt, clean),
                },
                allow_nan=False,
            )
        except (TypeError, ValueError, RecursionError) as error:
            log.error(  # noqa: TRY400  # its text may hold anything
                "check %s: its memory is not JSON (%s) and is not saved", name, type(error).__name__
            )
            continue
        if len(text) <= MEMORY_LIMIT:
            return text
        log.error(
            "check %s: its memory is larger than %d bytes and is not saved", name, MEMORY_LIMIT
        )
    return None


def _cleaned(value: Any, clean: Clean) -> Any:
    if isinstance(value, Mapping):
        return {
            clean(name) if isinstance(name, str) else name: _cleaned(each, clean)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(each, clean) for each in value]
    return clean(value) if isinstance(value, str) else value


def read_check(document: object) -> tuple[str, str, CheckState, dict[str, Any]] | None:
    """Return kind, target, state and memory; None where the document makes no sense."""
    try:
        read = json.loads(str(document))
        state = read.get("state", {})
        memory = read.get("memory", {})
        return (
            str(read["kind"]),
            str(read["target"]),
            _state(state if isinstance(state, dict) else {}),
            memory if isinstance(memory, dict) else {},
        )
    except (ValueError, KeyError, AttributeError, RecursionError):
        return None


def _state(read: Mapping[str, Any]) -> CheckState:
    """Return the state as far as it can be read; an empty one where it makes no sense."""
    found: dict[str, Any] = {}
    try:
        for known in fields(CheckState):
            value = read.get(known.name, read.get(_FORMER_KEYS.get(known.name, "")))
            if value is None:
                continue
            if known.name == "verdict":
                value = Verdict(value)
            elif known.name == "outcome":
                value = Outcome(value)
            elif isinstance(known.default, bool):
                value = bool(value)
            elif isinstance(known.default, int):
                value = max(0, int(value))
            elif not isfinite(value := float(value)):
                raise ValueError(known.name)  # noqa: TRY301  # as any other nonsense
            found[known.name] = value
        return replace(CheckState(), **found)
    except (ValueError, TypeError, OverflowError):
        return CheckState()


def write_result(result: Result) -> str | None:
    """Return the document; None where evidence of a third party's kind is not JSON."""
    try:
        return json.dumps(result_document(result), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        log.error(  # noqa: TRY400  # its text may hold anything
            "check %s: its result is not JSON (%s) and is not saved",
            result.check, type(error).__name__,
        )  # fmt: skip
        return None


def read_result(document: object) -> Result | None:
    """Return the result; None where the document makes no sense."""
    try:
        return result_of(json.loads(str(document)))
    except (ValueError, AttributeError, RecursionError):
        return None


def write_transition(transition: Transition) -> str:
    return json.dumps(transition._asdict(), allow_nan=False)


def read_transition(name: str, document: object) -> Transition | None:
    """Return the transition; None where the document makes no sense."""
    try:
        read = json.loads(str(document))
        by = read.get("suppressed_by", ())
        return Transition(
            name,
            Verdict(read["old"]),
            Verdict(read["new"]),
            float(read["at"]),
            _text(read.get("reason")),
            _text(read.get("message")),
            str(read.get("trace_id", "")),
            str(read["probe"]),
            str(read["target"]),
            tuple(map(str, by)) if isinstance(by, list) else (),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
