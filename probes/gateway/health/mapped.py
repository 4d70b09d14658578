"""Sites with a JSON of their own: where in it the statuses stand, and what their words mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Self, TypeAlias

from pydantic import Field, model_validator

from probed import Outcome, Settings
from probes.gateway.health.loading import Body, Parts, name_of, status_of, word_of
from probes.gateway.health.model import (
    BREAKER_WORDS,
    WORDS,
    Component,
    ComponentKind,
    HealthDocument,
    NotThisFormat,
)
from probes.gateway.paths import JsonPath, MemberPath, SinglePath

Words: TypeAlias = Annotated[
    tuple[Annotated[str, Field(max_length=100)] | bool | int | float, ...], Field(max_length=50)
]


class Mapped(Settings):
    """Where the statuses stand in a JSON document of the site's own, and what its words mean."""

    status: SinglePath | None = None
    """Where the status of the whole stands; without it, the worst component's counts."""
    components: SinglePath | None = None
    """Where the components stand: a list of objects, or an object by their names."""
    breakers: SinglePath | None = None
    """Where the circuit breakers stand, in the same way; `closed` means ok of them."""
    name: MemberPath = JsonPath("$.name")
    """Where each one's name stands, in a list."""
    state: MemberPath = JsonPath("$.status")
    """Where each one's status stands."""
    ok: Words = ()
    """Words that mean ok, beside those that are known."""
    degraded: Words = ()
    """Words that mean degraded, beside those that are known."""
    failed: Words = ()
    """Words that mean failed, beside those that are known."""

    @model_validator(mode="after")
    def _useful(self) -> Self:
        if self.status is None and self.components is None and self.breakers is None:
            raise ValueError("say where the status stands: status: $.status, or components: $.…")
        words = [word_of(word) for word in (*self.ok, *self.degraded, *self.failed)]
        twice = next((word for word in words if words.count(word) > 1), None)
        if twice is not None:
            raise ValueError(f"the word {twice} is written twice")
        return self

    @cached_property
    def words(self) -> Mapping[str, Outcome]:
        given = (
            (Outcome.OK, self.ok), (Outcome.DEGRADED, self.degraded), (Outcome.FAILED, self.failed)
        )  # fmt: skip
        return {word_of(word): status for status, words in given for word in words}


def read(body: Body, mapped: Mapped) -> HealthDocument:
    """Return the health document. Raises NotThisFormat if it is not JSON, or a path finds nothing."""
    if not body.is_json:
        raise NotThisFormat("the body is not JSON")
    parts = Parts()
    words = {**WORDS, **mapped.words}
    if mapped.components is not None:
        _add(parts, ComponentKind.COMPONENT, _group(body, mapped.components), mapped, words)
    if mapped.breakers is not None:
        words_of_breakers = {**BREAKER_WORDS, **mapped.words}
        _add(parts, ComponentKind.BREAKER, _group(body, mapped.breakers), mapped, words_of_breakers)
    if mapped.status is None:
        # A breaker that is open is found by itself; the service behind it may be well.
        status = _worst(part for part in parts.found if part.kind is not ComponentKind.BREAKER)
    else:
        status = status_of(_at(body, mapped.status), words)[0]
    return HealthDocument("mapped", status, tuple(parts.found), parts.truncated)


def _at(body: Body, path: JsonPath) -> Any:
    found = path.find(body.value)
    if not found:
        raise NotThisFormat(f"there is no {path} in the body")
    return found[0]


def _group(body: Body, path: JsonPath) -> dict[str, Any] | list[Any]:
    value = _at(body, path)
    if not isinstance(value, dict | list):
        raise NotThisFormat(f"what stands at {path} in the body is neither a list nor an object")
    return value


def _add(
    parts: Parts,
    kind: ComponentKind,
    group: dict[str, Any] | list[Any],
    mapped: Mapped,
    words: Mapping[str, Outcome],
) -> None:
    for name, part in _named(group, mapped.name):
        state = mapped.state.find(part) if isinstance(part, dict) else [part]
        word = status_of(state[0] if state else None, words)
        if not parts.add((name_of(name),), kind, word):
            return


def _named(value: dict[str, Any] | list[Any], name: JsonPath) -> Iterable[tuple[str, Any]]:
    """Of a list, what has no name is called by its number, from 0."""
    if isinstance(value, dict):
        return value.items()
    found: dict[str, Any] = {}
    for number, part in enumerate(value):
        given = next(iter(name.find(part)), None)
        wanted = given if isinstance(given, str) and given else str(number)
        found[wanted if wanted not in found else f"{wanted}/{number}"] = part
    return found.items()


def _worst(components: Iterable[Component]) -> Outcome:
    return max((c.status for c in components), key=lambda status: status.rank, default=Outcome.OK)
