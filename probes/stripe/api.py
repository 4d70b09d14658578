"""Does Stripe answer, with a key and without one?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from probed import Outcome, ProbeError, Request, Url, judge_latency
from probes.stripe.answers import items, read
from probes.stripe.reasons import StripeReason
from probes.stripe.settings import StripeSettings
from probes.stripe.step import Step

if TYPE_CHECKING:
    from probes.stripe.memory import StepMemory
    from probes.stripe.sdk import Api


async def reach(step: Step, settings: StripeSettings) -> None:
    """Ask without a key: Stripe's own 401 proves name, TLS and edge, and costs nobody anything."""
    url = Url(settings.api_base.rstrip("/") + "/v1/balance")
    answer = await step.fetch(Request(url, tls=settings.tls))
    step.run.evidence = {"status": answer.status}
    read(answer)
    if answer.status != 401:
        message = f"Asked without a key, Stripe answers {answer.status}; 401 was expected."
        raise ProbeError(StripeReason.API_ERROR, message)
    step.run.evidence = {}
    judge_latency(step.run, answer.wait_s, settings.latency)
    step.judge_our_clock()


async def ping(step: Step, settings: StripeSettings, api: Api, memory: StepMemory) -> None:  # noqa: ARG001
    """Ask for what every account has."""
    if settings.ping == "charges":
        data = await api.get("/v1/charges", limit=1)
    else:
        data = await api.get("/v1/balance")
    judge_mode(step, settings, data)
    judge_latency(step.run, api.wait_s, settings.latency)
    step.judge_our_clock()


def judge_mode(step: Step, settings: StripeSettings, data: Mapping[str, Any]) -> None:
    """Find an answer of the other mode: the key is not the one that was meant."""
    live = next((it["livemode"] for it in (data, *items(data)) if "livemode" in it), None)
    if not isinstance(live, bool):
        return
    step.run.fact("stripe.livemode", live)
    if live is not (settings.mode == "live"):
        told = "live" if live else "test"
        message = f"Stripe answers in {told} mode, but the check is of {settings.mode} mode."
        step.find(Outcome.FAILED, StripeReason.MODE_MISMATCH, message)
