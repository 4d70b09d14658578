"""The keys that are the same for all kinds, as they are written in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from probed.config.model import Check
from probed.fields import Duration, Settings, Url
from probed.model import Severity

NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"
NAME_LIMIT = 100
LABEL = r"^[A-Za-z_][A-Za-z0-9_.]*$"
LABEL_LIMIT = 20
RESERVED = frozenset({"target", "severity", "runbook", "job", "instance", "le", "quantile"})
"""Labels that `probed.check.info` has already, or that Prometheus sets."""
TAG = r"^[A-Za-z0-9][A-Za-z0-9._/:=-]*$"
TAG_LIMIT = 20
_NAME = re.compile(NAME.removesuffix("$") + r"\Z")
_TAG = TAG.removesuffix("$") + r"\Z"
_LABEL = LABEL.removesuffix("$") + r"\Z"
_HOUR, _DAY = 3600.0, 86400.0


def is_name(text: str) -> bool:
    """Whether a check or a template may have that name."""
    return len(text) <= NAME_LIMIT and _NAME.match(text) is not None


def _name(value: str) -> str:
    if not _NAME.match(value):
        raise PydanticCustomError(
            "name", "must begin with a letter or digit and hold only letters, digits and . _ / -"
        )
    return value


def _tag(value: str) -> str:
    if not re.match(_TAG, value):
        raise PydanticCustomError(
            "tag",
            "a tag must begin with a letter or digit and hold only letters, digits and . _ / : = -",
        )
    return value


def _label(value: str) -> str:
    if not re.match(_LABEL, value):
        raise PydanticCustomError(
            "label",
            "a label's name must begin with a letter or _ and hold only letters, digits, _ and .",
        )
    plain = value.replace(".", "_")
    if plain in RESERVED or plain.startswith("probed_"):
        raise PydanticCustomError("label", "this name is taken: it means something else in metrics")
    return value


Name = Annotated[
    str,
    Field(min_length=1, max_length=NAME_LIMIT),
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": NAME_LIMIT, "pattern": NAME}),
]
Tag = Annotated[
    str,
    Field(min_length=1, max_length=100),
    AfterValidator(_tag),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100, "pattern": TAG}),
]
Label = Annotated[str, Field(max_length=100), AfterValidator(_label)]
Labels = Annotated[
    Mapping[Label, Annotated[str, Field(max_length=200)]],
    Field(max_length=LABEL_LIMIT),
    WithJsonSchema({
        "type": "object",
        "propertyNames": {"pattern": LABEL, "maxLength": 100},
        "additionalProperties": {"type": "string", "maxLength": 200},
        "maxProperties": LABEL_LIMIT,
    }),
]  # fmt: skip


def written(settings: Settings) -> dict[str, Any]:
    """Return the settings that the file holds, without those left to their defaults."""
    return {name: getattr(settings, name) for name in settings.model_fields_set}


class CommonSettings(Settings):
    """What every check has, and `defaults` may set for all of them."""

    interval: Annotated[Duration, Field(ge=0.1, le=7 * _DAY)] = 30.0
    """Time from the start of one run to the start of the next."""
    timeout: Annotated[Duration, Field(ge=0.01, le=_HOUR)] = 10.0
    """One deadline for the whole run, its confirmation included; at most the interval."""
    confirm: Annotated[int, Field(ge=0, le=5)] = 1
    """How often a failed run is repeated at once before it counts, while there is time."""
    fail_after: Annotated[int, Field(ge=1, le=100)] = 2
    """Failed runs in a row that make the check down."""
    recover_after: Annotated[int, Field(ge=1, le=100)] = 2
    """Good runs in a row that make the check up again."""
    severity: Severity = Severity.P2
    """How urgent it is when the check is down: P0 (page now) to P3 (backlog)."""
    objective: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)] = 0.99
    """The part of the runs within 30 days that may be expected to be good, such as 0.999: alerts
    tell how fast the rest, the error budget, is used up.
    """
    labels: Labels = Field(default_factory=dict)
    """Names and values that stand on `probed.check.info`, for routing and grouping."""
    tags: Annotated[tuple[Tag, ...], Field(max_length=TAG_LIMIT)] = ()
    """Words by which checks are selected, as in `probed check --tag edge`."""
    runbook: Url | None = None
    """What to read when the check is down."""
    enabled: bool = True
    """A check that is not enabled is known, but does not run."""
    flap_damping: bool = True
    """Hold the verdict of a check that keeps changing."""


class CheckSettings(CommonSettings):
    """One named, scheduled probe of one target."""

    name: Name
    """The name: unique, and the same for as long as it means the same thing."""
    depends_on: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Names of checks without which this one cannot be up."""
    reference: bool = False
    """A check of something that fails only when our own network does: while all references fail,
    other checks' failures are `unknown`.
    """


COMMON = frozenset((*CheckSettings.model_fields, "probe"))
"""Keys of a check that are not its kind's."""
assert set(Check.__dataclass_fields__) >= COMMON
WRITTEN = COMMON | {"use"}
"""Keys that a check may be written with, beside its kind's."""
