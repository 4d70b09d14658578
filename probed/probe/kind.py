"""The one interface that a probe author implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from probed.fields import TARGETS
from probed.model import Measure
from probed.probe.run import CERTIFICATE_NOT_AFTER, Run
from probed.reasons import Reasons
from probed.text.redact import redact_url


class Probe(BaseModel, ABC):
    """A probe kind: its fields are its settings, and its one coroutine does the probing.

    Settings are frozen and unknown keys are refused. The class's docstring is its documentation.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        defer_build=True,
        validate_default=True,
    )

    kind: ClassVar[str]
    measures: ClassVar[tuple[Measure, ...]] = ()
    reasons: ClassVar[type[Reasons] | None] = None
    notes: ClassVar[str] = ""
    """Text that `probed explain` adds, such as the rights that the kind needs."""
    example: ClassVar[str] = ""
    """A configuration with checks of the kind, for `probed explain` and the settings reference."""
    hints: ClassVar[Mapping[str, str]] = {}
    """By unknown keys that people write: what to write instead."""
    declared: ClassVar[Mapping[str, Measure]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.declared = {m.name: m for m in (*cls.measures, CERTIFICATE_NOT_AFTER)}

    @property
    def target(self) -> str:
        """The target, as it may be shown. By default the first field that holds an address."""
        return self._address[0]

    @property
    def host(self) -> str:
        """The host that the limit of runs per host counts by."""
        return self._address[1]

    @cached_property
    def _address(self) -> tuple[str, str]:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, TARGETS):
                return redact_url(value) if isinstance(value, str) else str(value), value.host
        return self.kind, self.kind

    @classmethod
    def remarks(cls, checks: Sequence[tuple[str, Self, float]]) -> Iterable[str]:  # noqa: ARG003
        """Return lines that `probed config check` prints about the enabled checks of this kind
        together, such as what they cost. Of each check: its name, its probe, its interval in seconds.
        """
        return ()

    @abstractmethod
    async def probe(self, run: Run) -> None:
        """Do the probing. Returning is `ok`; `run.fail` or an exception is `failed`."""

    async def shapes(self, run: Run) -> Mapping[str, Any] | None:  # noqa: ARG002
        """Return the shapes of the peer's replies by call: keys and types, no values; None for kinds
        whose replies have no shape. For `probed check --dump-shapes`.
        """
        return None

    def worth_repeating(self, memory: MutableMapping[str, Any], now: float) -> bool:  # noqa: ARG002
        """Return whether a failed run that left this `memory` can be confirmed by a second one at
        once. `now` is in seconds since the epoch. A kind whose steps have a cadence of their own
        returns False where the second run would send nothing.
        """
        return True
