"""An application's webhook endpoint, good or bad in the ways that such endpoints are."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Literal, TypeAlias

from probed.testing.webserver import Answer, HttpServer, Received

PATH = "/v1/billing/webhooks/stripe"
SYNC = "/internal/billing/sync"
TOLERANCE = 300.0
"""Seconds that a signature is good for, as in Stripe's libraries."""

Character: TypeAlias = Literal["correct", "open", "redirects", "missing", "broken", "slow"]


class FakeReceiver(HttpServer):
    """Takes signed events at `PATH`, and tells at `SYNC` what it has processed. What is public may be
    changed while it runs.

    `secrets` are those that it verifies with; `character` says how it behaves: `open` verifies
    nothing, `slow` answers after 31 seconds. `skew` is how far its clock is ahead. `processed` are
    the events that it has accepted, `refused` counts the others.
    """

    def __init__(
        self,
        *secrets: str,
        character: Character = "correct",
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__({PATH: self._take, SYNC: self._tell}, tls=tls)
        self.secrets = list(secrets)
        self.character: Character = character
        self.clock = clock
        self.skew = 0.0
        self.active = 0
        self.processed: list[dict[str, Any]] = []
        self.refused = 0

    @property
    def hook(self) -> str:
        """The URL to register at Stripe."""
        return self.url(PATH)

    def _take(self, request: Received) -> Answer:
        dated = {"Date": formatdate(self.clock() + self.skew, usegmt=True)}
        if self.character == "redirects":
            return Answer(308, {**dated, "Location": self.url(PATH + "/?token=hunter2")})
        if self.character == "missing":
            return Answer(404, dated, "not found\n")
        if self.character == "broken":
            return Answer(500, dated, "Traceback (most recent call last)\n")
        if self.character == "slow":
            return Answer(200, dated, delay=31.0)
        if request.method != "POST":
            return Answer(405, dated)
        if self.character != "open" and not self._signed(request):
            self.refused += 1
            return Answer(400, dated, "Webhook signature verification failed.\n")
        event = json.loads(request.body)
        if event["type"] != "probed.ping":
            self.processed.append(event)
        return Answer(200, dated, '{"received": true}')

    def _signed(self, request: Received) -> bool:
        """As Stripe's documentation has it: any `v1` of the header may be the right one."""
        items = [
            item.partition("=") for item in request.headers.get("stripe-signature", "").split(",")
        ]
        times = [value for name, _, value in items if name.strip() == "t"]
        if not times or not times[0].isdigit():
            return False
        if abs(self.clock() + self.skew - int(times[0])) > TOLERANCE:
            return False
        signed = times[0].encode() + b"." + request.body
        right = {hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in self.secrets}
        return any(
            hmac.compare_digest(value, each)
            for name, _, value in items
            if name.strip() == "v1"
            for each in right
        )

    def _tell(self, request: Received) -> Answer:  # noqa: ARG002
        newest = max((event["created"] for event in self.processed), default=None)
        told = {"last_event_created": newest, "active_subscriptions": self.active}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(told))
