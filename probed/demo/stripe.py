"""A Stripe account with some activity, and the application that receives its events."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from probed.demo.client import fetch
from probed.demo.peer import Check, DemoPeer, Setting
from probed.reasons import ProbeError
from probed.testing.fake_receiver import SYNC, FakeReceiver
from probed.testing.fake_stripe import KEY, FakeStripe

PACE = 0.5
"""Seconds between two events, and between two attempts to deliver one."""
PATIENCE = 2.0
"""Seconds within which a delivery must be answered."""
EVENTS = 200
"""Number of events that the account lists; Stripe lists 30 days."""
TYPES = ("customer.subscription.updated", "invoice.paid")
SECRET = "whsec_probedDemo0123456789abcdef"  # noqa: S105  # of nothing real
ROLLED = "whsec_anotherDemo0123456789abcdef"


class Stripe(DemoPeer):
    """Fakes of Stripe's API, its deliveries, and the application's webhook endpoint."""

    breaks: ClassVar[Mapping[str, str]] = {
        "stripe": "Stripe's API answers 500",
        "stripe-key": "Stripe rejects the API key",
        "webhook": "the application's webhook endpoint verifies no signature",
        "webhook-secret": "the application was given a wrong signing secret",
        "undelivered": "Stripe's deliveries do not reach the application",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._working = anyio.CancelScope()
        self._stripe = FakeStripe()
        self._application = FakeReceiver(SECRET)

    async def start(self, tasks: TaskGroup) -> None:
        await self.serve(self._stripe)
        await self.serve(self._application)
        self._stripe.endpoint(self._application.hook, *TYPES)
        self._stripe.subscriptions = self._application.active = 42
        self.setting.urls["stripe"] = self._stripe.base
        self.setting.urls["webhook"] = self._application.hook
        await anyio.to_thread.run_sync(_write, self.setting.directory)
        tasks.start_soon(self._work)

    async def stop(self) -> None:
        self._working.cancel()
        await super().stop()

    async def break_(self, name: str) -> None:
        await super().break_(name)
        self._apply()

    async def mend(self, name: str) -> None:
        await super().mend(name)
        self._apply()

    def _apply(self) -> None:
        broken, stripe = self.broken, self._stripe
        stripe.faults = {"*": "key"} if "stripe-key" in broken else {}
        if "stripe" in broken:
            stripe.faults = {"*": "error", "reach": "error"}
        self._application.character = "open" if "webhook" in broken else "correct"
        self._application.secrets = [ROLLED if "webhook-secret" in broken else SECRET]

    async def _work(self) -> None:
        """Create events and deliver them."""
        with self._working:
            number = 0
            while True:
                self._stripe.event(TYPES[number % len(TYPES)], pending=1)
                del self._stripe.events[:-EVENTS]
                await self._deliver_all()
                del self._application.processed[:-EVENTS]
                number += 1
                await anyio.sleep(PACE)

    async def _deliver_all(self) -> None:
        """Deliver pending events, up to the first that is not accepted."""
        for event in self._stripe.events:
            if event["pending_webhooks"] and "undelivered" not in self.broken:
                if not await self._deliver(event):
                    return
                event["pending_webhooks"] = 0

    async def _deliver(self, event: Mapping[str, Any]) -> bool:
        body, at = json.dumps(event).encode(), int(self._stripe.clock())
        signed = hmac.new(SECRET.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "Stripe-Signature": f"t={at},v1={signed}"}
        hook = self._application.hook
        status = 0
        try:
            with anyio.move_on_after(PATIENCE):
                status = (await fetch(hook, method="POST", headers=headers, body=body)).status
        except (OSError, ProbeError):
            pass
        return 200 <= status < 300

    def checks(self) -> list[Check]:
        directory, every = self.setting.directory, "2s"
        steps = dict.fromkeys(("reach", "api", "events", "endpoints", "webhook", "drift"), every)
        return [
            {
                "name": "stripe",
                "probe": "stripe",
                "mode": "test",
                "api_base": self.setting.urls["stripe"],
                "key": {"file": str(directory / "stripe-key")},
                "steps": steps,
                "webhook": {
                    "url": self.setting.urls["webhook"],
                    "secret": {"file": str(directory / "stripe-secret")},
                    "synthetic": "signed",
                    "required_events": list(TYPES),
                },
                "events": {"grace": "1s", "ratio": True},
                "drift": {
                    "app": {
                        "url": self._application.url(SYNC),
                        "last_event": "$.last_event_created",
                        "active": "$.active_subscriptions",
                    },
                },
                "read_allocation": 100_000_000,
            }
        ]


def _write(directory: Path) -> None:
    for name, secret in (("stripe-key", KEY), ("stripe-secret", SECRET)):
        path = directory / name
        path.touch(mode=0o600)
        path.write_text(secret)
