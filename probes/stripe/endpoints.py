"""Is our webhook endpoint registered, enabled, and subscribed to what is required?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from probed import Outcome, ProbeError
from probes.stripe.answers import items, names
from probes.stripe.api import judge_mode
from probes.stripe.reasons import StripeReason
from probes.stripe.settings import StripeSettings
from probes.stripe.step import Step

if TYPE_CHECKING:
    from probes.stripe.memory import StepMemory
    from probes.stripe.sdk import Api

V1 = "/v1/webhook_endpoints"
V2 = "/v2/core/event_destinations"


async def registration(step: Step, settings: StripeSettings, api: Api, memory: StepMemory) -> None:  # noqa: ARG001
    """Look our endpoint up, among the webhook endpoints and then among the event destinations that
    newer accounts have.
    """
    data = await api.get(V1, limit=100)
    found = list(items(data))
    if settings.webhook is None:
        step.measure("probed.stripe.endpoints.enabled", _enabled(found))
        return
    url = str(settings.webhook.known_as)
    ours = [each for each in found if _url(each) == url]
    if not ours:
        with step.run.prefixed("destinations/"):
            more = await _destinations(api)
        found += more
        ours = [each for each in more if _url(each) == url]
    enabled = [each for each in ours if each.get("status") == "enabled"]
    step.measure("probed.stripe.endpoints.enabled", _enabled(found))
    step.facts["others"] = _enabled(found) - len(enabled)
    step.facts["types"] = _types(enabled)
    if not ours:
        evidence = {"url": _shown(url), "endpoints": len(found), "alike": _alike(url, found)}
        step.find(Outcome.FAILED, StripeReason.ENDPOINT_MISSING, None, evidence)
        return
    judge_mode(step, settings, {"data": ours})
    if not enabled:
        step.find(Outcome.FAILED, StripeReason.ENDPOINT_DISABLED, None, {"url": _shown(url)})
        return
    sent = {kind for each in enabled for kind in names(each.get("enabled_events"))}
    missing = sorted(set(settings.webhook.required_events) - sent)
    if missing and "*" not in sent:
        message = f"The endpoint is not sent {', '.join(missing[:10])}."
        evidence = {"missing": missing[:10], "count": len(missing)}
        step.find(Outcome.DEGRADED, StripeReason.NOT_SUBSCRIBED, message, evidence)


async def _destinations(api: Api) -> list[Mapping[str, Any]]:
    """The event destinations; none where Stripe does not know of them."""
    try:
        data = await api.get(V2, limit=100, include=["webhook_endpoint.url"])
    except ProbeError as error:
        if error.reason is not StripeReason.REQUEST_REJECTED:
            raise
        return []
    return list(items(data))


def _url(endpoint: Mapping[str, Any]) -> str:
    nested = endpoint.get("webhook_endpoint")
    found = nested.get("url") if isinstance(nested, dict) else endpoint.get("url")
    return found if isinstance(found, str) else ""


def _enabled(endpoints: Iterable[Mapping[str, Any]]) -> int:
    return sum(1 for each in endpoints if each.get("status") == "enabled")


def _types(endpoints: Iterable[Mapping[str, Any]]) -> list[str]:
    """The types that the endpoints are sent, where there are few enough to ask for them by name;
    otherwise none.
    """
    found = {kind for each in endpoints for kind in names(each.get("enabled_events"))}
    return sorted(found) if len(found) <= 20 and "*" not in found else []


def _shown(url: str) -> str:
    """A URL without its query, which may hold a secret."""
    return url.partition("?")[0]


def _alike(url: str, endpoints: Iterable[Mapping[str, Any]]) -> list[str]:
    """Registered URLs that are nearly ours: another scheme, or a slash more or less."""
    return [
        _shown(_url(each))
        for each in endpoints
        if _plain(_url(each)) and _plain(_url(each)) == _plain(url)
    ][:3]


def _plain(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.hostname}{parts.path.rstrip('/')}"
