"""The Stripe probe: what the playbook asks of Stripe by hand. It reads, and never writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from probed import Probe, Run, Tls, Url
from probes.stripe import measures
from probes.stripe.budget import FLOOR, PERMISSIONS, remarks
from probes.stripe.memory import Memory
from probes.stripe.reasons import StripeReason
from probes.stripe.settings import LIVE, Drift, Events, Slow, Steps, Webhook, read_base, read_key


class StripeProbe(Probe):
    """Ask Stripe whether it answers, whether events were delivered, and our webhook endpoint whether
    it verifies signatures; compare what the application has processed. It reads only: nothing but
    GET goes to Stripe.
    """

    kind = "stripe"
    reasons = StripeReason
    measures = measures.ALL

    notes: ClassVar[str] = PERMISSIONS

    mode: Literal["live", "test"] = "live"
    """Of which mode the key and all answers must be."""
    allow_secret_key: bool = False
    """Take a live secret key, `sk_live_…`, too; a restricted one is enough."""
    api_base: Url = Url(LIVE)
    """Where the API is; another address is for tests."""
    key: SecretStr | None = Field(default=None, validate_default=True)
    """The restricted API key, `rk_live_…`."""
    key_shared: bool = True
    """The application uses this key or one of its kind: where Stripe rejects it, that is `failed`,
    else `unknown`.
    """
    api_version: Annotated[str | None, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[.a-z]*$")] = None
    """Version of the API to ask for; else the SDK's own."""
    steps: Steps = Steps()
    """How often each step is run."""
    ping: Literal["balance", "charges"] = "balance"
    """What the step `api` reads; `charges` needs the permission to see them."""
    latency: Slow = Slow()
    """How long an answer may take to begin, from the end of the request."""
    read_allocation: Annotated[int, Field(ge=1)] = FLOOR
    """Reads a month that the account may make; `probed config check` compares."""
    tls: Tls = Tls()
    """How Stripe's certificate is verified."""

    webhook: Webhook | None = None
    """Our own webhook endpoint."""
    events: Events = Events()
    """What is asked of events that were not delivered."""
    drift: Drift | None = None
    """Where the application says what it has processed."""

    @field_validator("api_base")
    @classmethod
    def _safe_base(cls, base: Url) -> Url:
        return read_base(base)

    @field_validator("key")
    @classmethod
    def _safe_key(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        given = info.data
        if key is not None and {"mode", "api_base", "allow_secret_key"} <= given.keys():
            read_key(
                key.get_secret_value(),
                mode=given["mode"],
                base=given["api_base"],
                allow_secret_key=given["allow_secret_key"],
            )
        return key

    @model_validator(mode="after")
    def _with_a_key(self) -> Self:
        steps = self.steps
        if self.key is None and any((steps.api, steps.events, steps.endpoints, steps.drift)):
            off = "steps: {api: null, events: null, endpoints: null, drift: null}"
            raise ValueError(f"write the key, or do without it: {off}")
        return self

    @cached_property
    def cadences(self) -> Mapping[str, float]:
        """Seconds between two runs of each step that is run at all, in the order of their telling."""
        steps = self.steps
        asked = self.webhook is not None and self.webhook.synthetic != "off"
        found = {
            "reach": steps.reach,
            "api": steps.api,
            "endpoints": steps.endpoints,
            "events": steps.events,
            "webhook": steps.webhook if asked else None,
            "drift": None if self.drift is None else steps.drift,
        }
        return {name: every for name, every in found.items() if every is not None}

    @property
    def secret_key(self) -> bool:
        """Whether the key may do more than read, with real money."""
        return self.key is not None and self.key.get_secret_value().startswith("sk_live_")

    @classmethod
    def remarks(cls, checks: Sequence[tuple[str, Self, float]]) -> Iterable[str]:
        """What their reads cost a month, against what the account may make."""
        return remarks(checks)

    @cached_property
    def fingerprint(self) -> str:
        """The settings but for their secrets: what was found under others is forgotten."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def worth_repeating(self, memory: MutableMapping[str, Any], now: float) -> bool:
        from probes.stripe.rounds import due  # noqa: PLC0415  # a run was before it

        return bool(due(self, Memory(memory, self.fingerprint, now)))

    async def probe(self, run: Run) -> None:
        from probes.stripe.rounds import run_round  # noqa: PLC0415  # with the first run

        await run_round(self, run)
