"""From what was expected of an answer, and the answer, to findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import thread_time
from typing import Any, NamedTuple

from probed import Outcome, Pattern, Reason, Response, Run, redact_url
from probes.gateway.expect import BodyExpected, Expect, HeaderExpected, JsonExpected
from probes.gateway.health import Body
from probes.gateway.paths import FOUND_LIMIT, JsonPath, TooMany
from probes.gateway.reasons import GatewayReason

SHOWN = 100
"""Characters that are shown of a value found."""
SNIPPET = 200
"""Characters that are shown of a body."""

SECONDS = 0.1
"""Seconds of processor time for all searches in one answer."""

_PRIVATE = {"set-cookie", "set-cookie2", "authentication-info"}
"""Headers whose values are credentials."""
_URLS = {"location", "content-location"}
"""Headers whose values may hold some in a query."""


def judge(run: Run, expect: Expect, answer: Response, body: Body | None) -> None:
    """Find what does not hold. `body` is None where the body could not be read whole."""
    effort = Effort()
    for name, header in expect.headers.items():
        _header(run, name.lower(), header, answer, effort)
    if expect.body or expect.body_not:
        _patterns(run, expect, answer, effort)
    if not expect.json_:
        return
    if body is None:
        run.unknown(
            GatewayReason.ASSERTION,
            "The body could not be read whole: what must hold of its JSON was not judged.",
        )
    elif not body.is_json:
        level = max((each.outcome for each in expect.json_), key=lambda level: level.rank)
        run.find(level, Reason.HTTP_NOT_JSON, evidence={"body": answer.body[:SNIPPET]})
    else:
        for each in expect.json_:
            _json(run, each, body.value, effort)


def _header(
    run: Run, name: str, expected: HeaderExpected, answer: Response, effort: Effort
) -> None:
    values = [value.decode("latin-1") for key, value in answer.headers if key == name]
    reason = GatewayReason.HEADER_MISMATCH
    evidence = {"header": name, **_called(expected.name)}
    if values:
        evidence["found"] = shown = _header_shown(run, name, values)
    if bool(values) is not expected.exists:
        said = "There is no header" if expected.exists else "There must be no header"
        text = _text(f"{said} {name}", expected.name)
        run.find(expected.outcome, reason, text, evidence=evidence)
    elif values and expected.matches is not None:
        pattern = expected.matches
        found = [_search(run, pattern, value, reason, effort) for value in values]
        if not any(found) and None not in found:
            text = f"The header {name} is {shown!r}, and does not match {pattern.text!r}"
            evidence["expected"] = pattern.text
            run.find(expected.outcome, reason, _text(text, expected.name), evidence=evidence)


def _header_shown(run: Run, name: str, values: list[str]) -> str:
    if name in _PRIVATE:
        return "(not shown)"
    if name in _URLS:
        values = [redact_url(value) for value in values]
    return run.clean(", ".join(values), SHOWN)


def _patterns(run: Run, expect: Expect, answer: Response, effort: Effort) -> None:
    reason = GatewayReason.BODY_MISMATCH
    if answer.undecoded:
        text = "The body's encoding could not be undone: what must hold of it was not judged."
        run.unknown(reason, text)
        return
    body = answer.body
    for each in expect.body:
        if _search(run, each.matches, body, reason, effort) is False:
            _missing(run, each, answer)
    for each in expect.body_not:
        found = _search(run, each.matches, body, reason, effort)
        pattern = each.matches.text
        if found:
            said = _text(f"The body matches {pattern!r}, and must not", each.name)
            evidence = {"expected not": pattern, **_called(each.name)}
            run.find(each.outcome, reason, said, evidence=evidence)
        elif found is False and _cut(each.matches, answer):
            said = f"Whether the body matches {pattern!r} is not known: it was cut off"
            run.unknown(reason, _text(said, each.name))


def _missing(run: Run, expected: BodyExpected, answer: Response) -> None:
    """Return `unknown` for text that was not found in a truncated body: the rest may contain it."""
    pattern = expected.matches
    cut = _cut(pattern, answer)
    said = f"The body does not match {pattern.text!r}"
    if cut:
        said += f" in its first {len(answer.body)} bytes, which are those read"
    elif not pattern.covers(answer.body):
        said += f" in its first {pattern.limit} bytes, which are those searched"
    run.find(
        Outcome.UNKNOWN if cut else expected.outcome,
        GatewayReason.BODY_MISMATCH,
        _text(said, expected.name),
        evidence={
            "expected": pattern.text, **_called(expected.name), "body": answer.body[:SNIPPET]
        },
    )  # fmt: skip


def _cut(pattern: Pattern, answer: Response) -> bool:
    """Whether the part that was cut off would have been searched too."""
    return answer.truncated and pattern.covers(answer.body)


class TooHard(Exception):  # noqa: N818  # it says what the search is, not what went wrong
    """The searches in one answer took too long, and were given up."""


class Effort:
    """The processor time in seconds that all searches in one answer may take together."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.left = seconds

    def search(self, pattern: Pattern, text: str | bytes) -> bool:
        """Return whether the pattern matches. Raises TooHard where no time is left."""
        if self.left <= 0:
            raise TooHard
        begun = thread_time()
        try:
            return pattern.search(text)
        finally:
            self.left -= thread_time() - begun


def _search(
    run: Run, pattern: Pattern, text: str | bytes, reason: GatewayReason, effort: Effort
) -> bool | None:
    """Whether it matches; None, and an `unknown`, where that takes too long to find out."""
    try:
        return effort.search(pattern, text)
    except TooHard:
        _too_hard(run, pattern, reason)
        return None


def _too_hard(run: Run, pattern: Pattern, reason: GatewayReason) -> None:
    run.unknown(reason, f"Searching for {pattern.text!r} takes too long here: it was given up.")


class _Comparison(NamedTuple):
    """Each comparison: the type that the value must have, its wording, and the operator."""

    kind: type | None
    said: str
    holds: Callable[[Any, Any, Effort], bool]


def _same(value: object, wanted: object) -> bool:
    """Equal as JSON: `1` and `1.0` are, `1` and `true` are not."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return value == wanted


_COMPARISONS: Mapping[str, _Comparison] = {
    "equals": _Comparison(None, "it must be", lambda v, wanted, _: _same(v, wanted)),
    "not_equals": _Comparison(None, "it must not be", lambda v, wanted, _: not _same(v, wanted)),
    "one_of": _Comparison(
        None, "it must be one of", lambda v, wanted, _: any(_same(v, each) for each in wanted)
    ),
    "above": _Comparison(float, "it must be above", lambda v, wanted, _: v > wanted),
    "below": _Comparison(float, "it must be below", lambda v, wanted, _: v < wanted),
    "at_least": _Comparison(float, "it must be at least", lambda v, wanted, _: v >= wanted),
    "at_most": _Comparison(float, "it must be at most", lambda v, wanted, _: v <= wanted),
    "matches": _Comparison(str, "it must match", lambda v, wanted, e: e.search(wanted, v)),
}


def _json(run: Run, expected: JsonExpected, document: Any, effort: Effort) -> None:
    path = expected.path
    try:
        found = path.find(document)
    except TooMany:
        text = f"On the way of {path} are more than {FOUND_LIMIT} values: it was not judged"
        run.unknown(GatewayReason.ASSERTION, _text(text, expected.name))
        return
    if bool(found) is (expected.exists is False):
        said = f"There is {path} in the body, and it must not be there"
        _report(run, expected, said if found else f"There is no {path} in the body")
        return
    for name, wanted in expected.compared.items():
        comparison = _COMPARISONS[name]
        try:
            wrong = [value for value in found if not _holds(comparison, value, wanted, effort)]
        except TooHard:
            _too_hard(run, wanted, GatewayReason.ASSERTION)
            return
        if wrong:
            shown = _found(run, path, wrong[0])
            among = f" ({len(wrong)} of the {len(found)} values there)" if len(found) > 1 else ""
            said = f"{path} is {shown}; {_demand(comparison, wrong[0], wanted)}{among}"
            _report(run, expected, said, shown)


def _holds(comparison: _Comparison, value: Any, wanted: Any, effort: Effort) -> bool:
    if comparison.kind is not None and not isinstance(value, comparison.kind):
        return False
    return comparison.holds(value, wanted, effort)


def _demand(comparison: _Comparison, value: Any, wanted: Any) -> str:
    if comparison.kind is not None and not isinstance(value, comparison.kind):
        return f"{'a number' if comparison.kind is float else 'text'} was expected"
    several: Sequence[Any] = wanted if isinstance(wanted, tuple) else (wanted,)
    return f"{comparison.said} {', '.join(map(_shown, several))}"


def _report(run: Run, expected: JsonExpected, text: str, found: str | None = None) -> None:
    evidence = {"path": expected.path.text, **_called(expected.name)}
    if found is not None:
        evidence["found"] = found
    said = _text(text, expected.name)
    run.find(expected.outcome, GatewayReason.ASSERTION, said, evidence=evidence)


def _found(run: Run, path: JsonPath, value: object) -> str:
    """A value of the peer as it may be shown: not what stands under a name such as `token`."""
    name = next((step for step in reversed(path.steps) if isinstance(step, str)), "")
    cleaned = run.clean(f"{name}: {_shown(value)}", len(name) + 2 + SHOWN)
    return cleaned.removeprefix(f"{name}: ")


def _shown(value: object) -> str:
    """A value as JSON writes it; of a list or an object only what it is."""
    if isinstance(value, str):
        return f'"{value[: SHOWN * 4]}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return "null" if value is None else str(value)


def _text(said: str, name: str | None) -> str:
    return f"{said} ({name})." if name else f"{said}."


def _called(name: str | None) -> dict[str, str]:
    return {"assertion": name} if name else {}
