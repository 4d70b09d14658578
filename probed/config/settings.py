"""The settings that checks of all kinds share, as they are written in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

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
    """Return whether a check or a template may have that name."""
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
    """Settings that all checks share, and that `defaults` may hold."""

    interval: Annotated[Duration, Field(ge=0.1, le=7 * _DAY)] = 30.0
    """Time from the start of one run to the start of the next."""
    timeout: Annotated[Duration, Field(ge=0.01, le=_HOUR)] = 10.0
    """Deadline of a run, including its confirmation. At most the interval."""
    confirm: Annotated[int, Field(ge=0, le=5)] = 1
    """Number of times that a failed run is repeated at once before it counts, while time is left."""
    fail_after: Annotated[int, Field(ge=1, le=100)] = 2
    """Consecutive failed runs after which the check is down."""
    recover_after: Annotated[int, Field(ge=1, le=100)] = 2
    """Consecutive good runs after which the check is up again."""
    severity: Severity = Severity.P2
    """Urgency when the check is down: P0 (page now) to P3 (backlog)."""
    objective: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)] = 0.99
    """Target availability over 30 days, such as 0.999. The rest is the error budget; alerts fire on
    how fast it is spent.
    """
    labels: Labels = Field(default_factory=dict)
    """Labels on the metric `probed_check_info`, for routing and grouping."""
    tags: Annotated[tuple[Tag, ...], Field(max_length=TAG_LIMIT)] = ()
    """Words that select checks, as in `probed check --tag edge`."""
    runbook: Url | None = None
    """URL of the runbook."""
    enabled: bool = True
    """Whether the check runs."""
    flap_damping: bool = True
    """Keep a flapping check at least degraded until it is calm, so that it does not alert each time."""


class CheckSettings(CommonSettings):
    """One named, scheduled probe of one target: the settings that checks of all kinds share."""

    example: ClassVar[str] = """\
checks:
  - name: mail/relay
    probe: tcp
    address: "mail.example.com:25"
    interval: 1m
    timeout: 10s
    fail_after: 3
    severity: P1
    labels: {team: mail}
    tags: [core]
    runbook: https://wiki.example.com/mail-relay
    depends_on: [dns]
  - {name: dns, probe: dns, query: mail.example.com, reference: true}
"""

    name: Name
    """Unique name. History, metrics and alerts refer to it, so keep it when the check changes."""
    depends_on: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Names of checks that this one needs. While one of them is down, this check's alert is suppressed;
    its results are still recorded.
    """
    reference: bool = False
    """Whether the check fails only if our own network does. While all reference checks fail, failures
    of other checks are `unknown`.
    """


COMMON = frozenset((*CheckSettings.model_fields, "probe"))
"""Keys of a check that are not its kind's."""
assert set(Check.__dataclass_fields__) >= COMMON
WRITTEN = COMMON | {"use"}
"""Keys that a check may be written with, beside its kind's."""
