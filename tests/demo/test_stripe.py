"""The demo's Stripe account works, breaks, recovers, and stops."""

from __future__ import annotations

import anyio
import pytest
import yaml

from probed.demo import Demo
from probed.demo.stripe import Stripe
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network
from probes.stripe import StripeProbe

pytestmark = pytest.mark.anyio
WHY = {
    "stripe": "stripe.api_error: Asked without a key",
    "stripe-key": "stripe.auth_rejected",
    "webhook": "webhook.signature_not_enforced: A security hole",
    "webhook-secret": "webhook.secret_mismatch",
    "undelivered": "stripe.events_undelivered",
}


async def ask(demo: Demo) -> Result:
    """Run all steps like `probed check`, with the secrets from their files."""
    (check,) = yaml.safe_load(demo.config_text())["checks"]
    settings = {key: value for key, value in check.items() if key not in {"name", "probe"}}
    for holder, name in ((settings, "key"), (settings["webhook"], "secret")):
        holder[name] = await anyio.Path(holder[name]["file"]).read_text()
    return await execute(StripeProbe(**settings), network=Network(), timeout=5.0)


async def until(demo: Demo, why: str) -> None:
    with anyio.fail_after(10):
        while True:
            found = (await ask(demo)).why
            if found.startswith(why) and bool(found) == bool(why):
                return


async def test_each_break_shows_and_mends() -> None:
    async with Demo([Stripe]) as demo:
        assert set(demo.breaks) == set(WHY)
        await until(demo, "")
        for name, why in WHY.items():
            await demo.break_(name)
            await until(demo, why)
            await demo.mend(name)
            await until(demo, "")
