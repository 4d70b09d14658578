"""Thresholds: one form in all kinds, one order, and the old keys name the new ones."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ValidationError

from probed import Direction, Duration, Outcome, Thresholds
from probed.config import ConfigError, loads
from probed.config.shape import Shape, shape_of
from probed.registry import Registry

MAIL = """
    relay: {name: out, host: mail.example.com}
    imap: {host: imap.example.com, username: me, secret: {env: SECRET}}
    from: canary@example.com
    rcpt: canary@example.com
    helo: probe.example.com
"""


class Wait(Thresholds):
    """How long something may wait."""

    degraded: Duration | None = 10.0
    failed: Duration | None = 60.0


class Used(Thresholds):
    """How much may be used."""

    direction: ClassVar[Direction] = "at_least"


class Left(Thresholds):
    """How much must be left."""

    direction: ClassVar[Direction] = "below"


@pytest.mark.parametrize(
    ("bounds", "value", "expected"),
    [
        (Wait(), 10, None),
        (Wait(), 10.1, (Outcome.DEGRADED, 10)),
        (Wait(), 60.1, (Outcome.FAILED, 60)),
        (Wait.model_validate({"failed": "5s"}), 6, (Outcome.FAILED, 5)),
        (Wait.model_validate({"degraded": None}), 30, None),
        (Used(degraded=0.8, failed=1), 0.79, None),
        (Used(degraded=0.8, failed=1), 0.8, (Outcome.DEGRADED, 0.8)),
        (Used(degraded=0.8, failed=1), 1, (Outcome.FAILED, 1)),
        (Left(degraded=21, failed=3), 21, None),
        (Left(degraded=21, failed=3), 20, (Outcome.DEGRADED, 21)),
        (Left(degraded=21, failed=3), 2, (Outcome.FAILED, 3)),
        (Left(), -1, None),
    ],
)
def test_the_worst_level_that_is_crossed(
    bounds: Thresholds, value: float, expected: object
) -> None:
    assert bounds.crossed(value) == expected


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (Wait, {"degraded": "10s", "failed": "5s"}, "failed must not be less than degraded"),
        (Wait, {"degraded": "2m"}, "failed must not be less than degraded, and its default is"),
        (Left, {"degraded": 3, "failed": 4}, "failed must not be more than degraded"),
    ],
)
def test_failed_is_the_worse_one(model: type[Wait | Left], data: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model.model_validate(data)


@pytest.mark.parametrize(
    ("check", "errors"),
    [
        (
            "probe: mongo\n    host: db\n    lag: {degraded_above: 5s, failed_above: 1m}",
            [
                "lag.degraded_above: unknown key; write `degraded`",
                "lag.failed_above: unknown key; write `failed`",
            ],
        ),
        (
            "probe: email_roundtrip\n    within: 1m\n    degraded: 5s" + MAIL,
            [
                "within: unknown key; write `delivery: {failed: …}`",
                "degraded: unknown key; write `delivery: {degraded: …}`",
            ],
        ),
    ],
)
def test_an_old_key_names_the_new_one(check: str, errors: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(f"checks:\n  - name: a\n    {check}\n", Registry(), environ={"SECRET": "s"})
    lines = [problem.line.partition("checks[0].")[2] for problem in caught.value.problems]
    assert lines == errors


@pytest.mark.parametrize("kind", Registry().kinds())
def test_no_kind_has_another_form_of_a_pair(kind: str) -> None:
    for path, model in models(shape_of(Registry().load(kind)), kind):
        names = set(model.model_fields)
        assert not {name for name in names if name.endswith(("_above", "_below"))} - {"slow_above"}
        if {"degraded", "failed"} & names and path != f"{kind}.health.map":
            assert issubclass(model, Thresholds), path


def models(shape: Shape, path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """All groups of settings below a shape."""
    inner: list[tuple[str, Any]] = [(path, shape.items), (path, shape.values)]
    for model in shape.models:
        yield path, model
    inner += [(f"{path}.{key}", each) for key, each in shape.fields.items()]
    for where, each in inner:
        if each is not None:
            yield from models(each, where)
