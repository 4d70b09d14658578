"""From a health document, and from what the upstreams said, to findings and measures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from probed import Fault, Measure, Outcome, Reason, Run
from probes.gateway.health import Body, Component, ComponentKind, HealthDocument
from probes.gateway.health.loading import number_of
from probes.gateway.paths import JsonPath
from probes.gateway.reasons import GatewayReason
from probes.gateway.settings import Health, PoolPlace

MEASURES = (
    Measure(
        "probed.gateway.component.status",
        help="1 if the component is ok, else 0; its state is an attribute.",
        attributes=("component", "kind", "state"),
    ),
    Measure("probed.gateway.circuit.open", unit="{circuit}", help="Circuit breakers that are open."),
    Measure("probed.gateway.pool.utilization", unit="1", attributes=("pool",),
            help="What is in use of a pool, as a part of what there is."),
    Measure("probed.gateway.upstream.up", help="1 if the upstream answers well when asked directly.",
            attributes=("upstream",)),
)  # fmt: skip

NAMED = 10
"""Components that a message names; the evidence names more."""
SERIES = 50
"""Components, and pools, that are measured: the peer chooses their names."""


def health(run: Run, document: HealthDocument, required: Iterable[str], *, expected: bool) -> None:
    """Find what the document says. `expected` tells that the status itself was as expected."""
    if document.format == "other":
        if expected:
            _required(run, document, required)
        return
    for component in document.components[:SERIES]:
        run.measure(
            "probed.gateway.component.status",
            float(component.status is Outcome.OK),
            {
                "component": component.path,
                "kind": component.kind.value,
                "state": component.status.value,
            },
        )
    before = len(run.findings)
    _document(run, document)
    _required(run, document, required)
    _breakers(run, document, expected=expected)
    if document.status is Outcome.UNKNOWN and len(run.findings) == before:
        run.unknown(GatewayReason.UNKNOWN, evidence=_named(document.components, Outcome.UNKNOWN))


def _document(run: Run, document: HealthDocument) -> None:
    parts = [c for c in document.components if c.kind is not ComponentKind.BREAKER]
    if document.status is Outcome.FAILED:
        causes = _leaves(c for c in parts if c.status is Outcome.FAILED)
        text = GatewayReason.DOWN.sentence
        if causes:
            text = f"The service says that it is down: {_listed(causes)}."
        run.find(Outcome.FAILED, GatewayReason.DOWN, text, evidence=_named(causes))
        return
    causes = _leaves(c for c in parts if c.status in {Outcome.FAILED, Outcome.DEGRADED})
    if causes or document.status is Outcome.DEGRADED:
        text = GatewayReason.DEGRADED.sentence
        if causes:
            text = f"The service works, but not all of it: {_listed(causes)}."
        run.degraded(GatewayReason.DEGRADED, text, evidence=_named(causes))


def _required(run: Run, document: HealthDocument, required: Iterable[str]) -> None:
    for name in required:
        found = document.named(name)
        failed = [c for c in found if c.status is Outcome.FAILED]
        unknown = [c for c in found if c.status is Outcome.UNKNOWN]
        if not found:
            run.find(
                Outcome.FAILED,
                GatewayReason.MISSING,
                f"The component {name!r} is required, and the health document does not name it.",
            )
        elif failed and document.status is not Outcome.FAILED:
            text = f"The required component {name!r} is down."
            run.find(Outcome.FAILED, GatewayReason.DOWN, text, evidence=_named(failed))
        elif unknown:
            text = f"The required component {name!r} is in no known state."
            run.unknown(GatewayReason.UNKNOWN, text, evidence=_named(unknown))


def _breakers(run: Run, document: HealthDocument, *, expected: bool) -> None:
    breakers = [c for c in document.components if c.kind is ComponentKind.BREAKER]
    if not breakers:
        return
    opened = [c for c in breakers if c.status is Outcome.FAILED]
    half = [c for c in breakers if c.status is Outcome.DEGRADED]
    run.measure("probed.gateway.circuit.open", len(opened))
    if opened:
        level = Outcome.DEGRADED if expected else Outcome.FAILED
        run.find(level, GatewayReason.CIRCUIT_OPEN, f"Open circuit breaker: {_listed(opened)}.",
                 evidence={c.path: _rate(c) for c in opened})  # fmt: skip
    if half:
        run.degraded(GatewayReason.HALF_OPEN, f"Half-open circuit breaker: {_listed(half)}.",
                     evidence={c.path: _rate(c) for c in half})  # fmt: skip


def _rate(breaker: Component) -> str:
    """The state, and of how many calls that failed it is the consequence, as far as is told."""
    if breaker.observed is None or breaker.limit is None:
        return breaker.raw
    unit = breaker.unit or ""
    return f"{breaker.raw}: {breaker.observed:g}{unit} failed, limit {breaker.limit:g}{unit}"


def pools(
    run: Run, document: HealthDocument | None, body: Body, health: Health, *, expected: bool
) -> None:
    """Find the pools that are used up, or nearly so. One without a limit cannot be."""
    found = _placed(run, body, health.pools, expected=expected)
    for c in document.components if document is not None else ():
        if c.kind is ComponentKind.POOL and c.observed is not None and c.limit is not None:
            found.setdefault(c.path, (c.observed, c.limit))
    full: dict[Outcome, dict[str, str]] = {Outcome.FAILED: {}, Outcome.DEGRADED: {}}
    limited = {name: (used, limit) for name, (used, limit) in found.items() if limit > 0}
    for number, (name, (used, limit)) in enumerate(limited.items()):
        part = used / limit
        if number < SERIES and 0 <= part < math.inf:
            run.measure("probed.gateway.pool.utilization", part, {"pool": name})
        crossed = health.utilization.crossed(part)
        if crossed is not None:
            full[crossed[0]][name] = f"{used:g} of {limit:g}"
    for level, names in full.items():
        if names:
            listed = ", ".join(f"{name} ({said})" for name, said in list(names.items())[:NAMED])
            text = f"{'Used up' if level is Outcome.FAILED else 'Nearly used up'}: {listed}."
            run.find(level, GatewayReason.POOL_EXHAUSTED, text, evidence=names)


def _placed(
    run: Run, body: Body, places: Iterable[PoolPlace], *, expected: bool
) -> dict[str, tuple[float, float]]:
    """Measure usage and size of the pools whose paths are configured."""
    found: dict[str, tuple[float, float]] = {}
    for place in places:
        used, limit = (_number_at(body, path) for path in (place.used, place.limit))
        if used is not None and limit is not None:
            found[place.name] = used, limit
        elif expected:
            run.find(
                Outcome.FAILED,
                Reason.HTTP_NOT_JSON,
                f"The pool {place.name!r} cannot be judged: there is no number at "
                f"{place.used if used is None else place.limit} in the body.",
            )
    return found


def upstreams(
    run: Run, said: Mapping[str, Fault | None], *, status: int, gateway_failed: bool
) -> None:
    """Find whether a failing gateway fails by itself or because of those behind it."""
    for name, fault in said.items():
        run.measure("probed.gateway.upstream.up", float(fault is None), {"upstream": name})
    failed = {
        name: fault for name, fault in said.items() if fault and fault.level is Outcome.FAILED
    }
    unjudged = [name for name, fault in said.items() if fault and name not in failed]
    for name in unjudged:
        fault = said[name]
        assert fault is not None
        run.unknown(fault.reason, f"The upstream {name} could not be judged: {fault.message}")
    if failed:
        all_down = len(failed) == len(said)
        level = Outcome.FAILED if gateway_failed or all_down else Outcome.DEGRADED
        named = "; ".join(f"{name}: {fault.message}" for name, fault in failed.items())
        run.find(
            level,
            GatewayReason.UPSTREAM_DOWN,
            f"Asked directly, {'every upstream fails' if all_down else 'an upstream fails'}: {named}",
            evidence={name: fault.reason.value for name, fault in failed.items()},
        )
    elif status in {502, 503, 504} and not unjudged:
        run.find(
            Outcome.FAILED,
            GatewayReason.ROUTING,
            f"The backends answer ({', '.join(said)}), but the gateway does not reach them.",
            evidence=dict.fromkeys(said, "ok"),
        )


def _number_at(body: Body, path: JsonPath) -> float | None:
    found = path.find(body.value) if body.is_json else []
    return number_of(found[0]) if found else None


def _leaves(components: Iterable[Component]) -> list[Component]:
    """Without those whose own parts are among them: the cause, not what it drags down."""
    found = list(components)
    parents = {c.path.rpartition("/")[0] for c in found}
    return [c for c in found if c.path not in parents]


def _listed(components: list[Component]) -> str:
    named = ", ".join(f"{c.path} ({c.raw})" for c in components[:NAMED])
    return named + (f" and {len(components) - NAMED} more" if len(components) > NAMED else "")


def _named(components: Iterable[Component], status: Outcome | None = None) -> dict[str, str]:
    return {c.path: c.raw for c in components if status is None or c.status is status}
