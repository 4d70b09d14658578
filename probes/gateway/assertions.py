"""From what was expected of an answer, and the answer, to findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from probed import Outcome, Reason, Response, Run
from probes.gateway.expect import BodyExpected, Expect, HeaderExpected, JsonExpected
from probes.gateway.health import Body
from probes.gateway.patterns import TEXT_LIMIT, SafePattern, TooHard
from probes.gateway.reasons import GatewayReason

SHOWN = 100
"""Characters that are shown of a value found."""
SNIPPET = 200
"""Characters that are shown of a body."""

_PRIVATE = {"set-cookie", "set-cookie2", "authentication-info"}
"""Headers whose values are credentials."""


def judge(run: Run, expect: Expect, answer: Response, body: Body | None) -> None:
    """Find what does not hold. `body` is None where the body could not be read whole."""
    for name, header in expect.headers.items():
        _header(run, name.lower(), header, answer)
    if expect.body or expect.body_not:
        _patterns(run, expect, answer)
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
            _json(run, each, body.value)


def _header(run: Run, name: str, expected: HeaderExpected, answer: Response) -> None:
    values = [value.decode("latin-1") for key, value in answer.headers if key == name]
    shown = "(not shown)" if name in _PRIVATE else run.clean(", ".join(values), SHOWN)
    evidence = {"header": name, **_called(expected.name)}
    if not values:
        if expected.exists:
            text = _text(f"There is no header {name}", expected.name)
            run.find(expected.outcome, GatewayReason.HEADER_MISMATCH, text, evidence=evidence)
        return
    evidence["found"] = shown
    if not expected.exists:
        text = _text(f"There is a header {name}, and there must be none", expected.name)
        run.find(expected.outcome, GatewayReason.HEADER_MISMATCH, text, evidence=evidence)
        return
    pattern = expected.matches
    found = [_search(run, pattern, value, GatewayReason.HEADER_MISMATCH) for value in values]
    if not any(found) and None not in found:
        text = f"The header {name} is {shown!r}, and does not match {pattern.text!r}"
        run.find(
            expected.outcome, GatewayReason.HEADER_MISMATCH, _text(text, expected.name),
            evidence={**evidence, "expected": pattern.text},
        )  # fmt: skip


def _patterns(run: Run, expect: Expect, answer: Response) -> None:
    if answer.undecoded:
        run.unknown(
            GatewayReason.BODY_MISMATCH,
            "The body's encoding could not be undone: what must hold of it was not judged.",
        )
        return
    text = answer.body.decode("utf-8", errors="replace")
    for each in expect.body:
        if _search(run, each.matches, text, GatewayReason.BODY_MISMATCH) is False:
            _missing(run, each, text, answer)
    for each in expect.body_not:
        if _search(run, each.matches, text, GatewayReason.BODY_MISMATCH):
            said = _text(f"The body matches {each.matches.text!r}, and must not", each.name)
            evidence = {"expected not": each.matches.text, **_called(each.name)}
            run.find(each.outcome, GatewayReason.BODY_MISMATCH, said, evidence=evidence)


def _missing(run: Run, expected: BodyExpected, text: str, answer: Response) -> None:
    """What was not found in a body that was cut off may stand in the rest: that is unknown."""
    pattern = expected.matches
    said = f"The body does not match {pattern.text!r}"
    if not pattern.covers(text):
        said += f" in its first {TEXT_LIMIT} characters, which are those searched"
    elif answer.truncated:
        said += f" in its first {answer.size} bytes, which are those read"
    run.find(
        Outcome.UNKNOWN if answer.truncated and pattern.covers(text) else expected.outcome,
        GatewayReason.BODY_MISMATCH,
        _text(said, expected.name),
        evidence={
            "expected": pattern.text, **_called(expected.name), "body": answer.body[:SNIPPET]
        },
    )  # fmt: skip


def _search(run: Run, pattern: SafePattern, text: str, reason: GatewayReason) -> bool | None:
    """Whether it matches; None, and an `unknown`, where that takes too long to find out."""
    try:
        return pattern.search(text)
    except TooHard:
        run.unknown(reason, f"Searching for {pattern.text!r} takes too long here: it was given up.")
        return None


class _Comparison(NamedTuple):
    """How a value is compared, what it must be for that, and how the comparison is said."""

    holds: Callable[[Any, Any], bool]
    kind: type | None
    said: str


def _same(value: object, wanted: object) -> bool:
    """Equal as JSON: `1` and `1.0` are, `1` and `true` are not."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return value == wanted


_COMPARISONS: Mapping[str, _Comparison] = {
    "equals": _Comparison(_same, None, "it must be"),
    "not_equals": _Comparison(lambda v, wanted: not _same(v, wanted), None, "it must not be"),
    "one_of": _Comparison(
        lambda v, wanted: any(_same(v, each) for each in wanted), None, "it must be one of"
    ),
    "above": _Comparison(lambda v, wanted: v > wanted, float, "it must be above"),
    "below": _Comparison(lambda v, wanted: v < wanted, float, "it must be below"),
    "at_least": _Comparison(lambda v, wanted: v >= wanted, float, "it must be at least"),
    "at_most": _Comparison(lambda v, wanted: v <= wanted, float, "it must be at most"),
    "matches": _Comparison(lambda v, wanted: wanted.search(v), str, "it must match"),
}


def _json(run: Run, expected: JsonExpected, document: Any) -> None:
    path = expected.path
    found = path.find(document)
    if not found:
        if expected.exists is not False:
            _report(run, expected, f"There is no {path} in the body")
        return
    if expected.exists is False:
        _report(run, expected, f"There is {path} in the body, and it must not be", found[0])
        return
    for name, wanted in expected.compared.items():
        wrong = [value for value in found if not _holds(run, name, value, wanted)]
        if wrong:
            _report(run, expected, _why(name, wrong, wanted, path.text, len(found)), wrong[0])


def _holds(run: Run, name: str, value: Any, wanted: Any) -> bool:
    comparison = _COMPARISONS[name]
    if comparison.kind is None:
        return comparison.holds(value, wanted)
    if not isinstance(value, comparison.kind):
        return False
    try:
        return comparison.holds(value, wanted)
    except TooHard:
        text = f"Searching for {str(wanted)!r} takes too long here: it was given up."
        run.unknown(GatewayReason.ASSERTION, text)
        return True


def _why(name: str, wrong: list[Any], wanted: Any, path: str, count: int) -> str:
    comparison, value = _COMPARISONS[name], wrong[0]
    among = f" ({len(wrong)} of the {count} values found there)" if count > 1 else ""
    if comparison.kind is not None and not isinstance(value, comparison.kind):
        needed = "a number" if comparison.kind is float else "text"
        return f"{path} is {_kind(value)}; {needed} was expected{among}"
    if isinstance(wanted, tuple):
        listed = ", ".join(map(_shown, wanted))
        return f"{path} is {_shown(value)}; {comparison.said} {listed}{among}"
    return f"{path} is {_shown(value)}; {comparison.said} {_shown(wanted)}{among}"


_NOT_FOUND = object()


def _report(run: Run, expected: JsonExpected, text: str, value: object = _NOT_FOUND) -> None:
    evidence: dict[str, Any] = {"path": expected.path.text, **_called(expected.name)}
    if value is not _NOT_FOUND:
        evidence["found"] = run.clean(_shown(value), SHOWN)
    said = _text(text, expected.name)
    run.find(expected.outcome, GatewayReason.ASSERTION, said, evidence=evidence)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "a number"
    kinds: Mapping[type, str] = {str: "text", list: "a list", dict: "an object"}
    return kinds[type(value)]


def _shown(value: object) -> str:
    """A value as JSON writes it, bounded; of a list or an object only what it is."""
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= SHOWN else f'"{value[:SHOWN]}…"'
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return _kind(value)
    return str(value)


def _text(said: str, name: str | None) -> str:
    return f"{said} ({name})." if name else f"{said}."


def _called(name: str | None) -> dict[str, str]:
    return {"assertion": name} if name else {}
