"""Webhook endpoint of an application, with the usual good and bad behaviours."""

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
"""Seconds for which a signature is valid, as in Stripe's libraries."""

Character: TypeAlias = Literal["correct", "open", "redirects", "missing", "broken", "slow"]


class FakeReceiver(HttpServer):
    """Accepts signed events at `PATH`, and reports at `SYNC` what it has processed. Public attributes may
    be changed while it runs.

    `secrets` verify signatures; `character` is its behaviour: `open` verifies nothing, `slow` answers
    after 31 seconds. `skew` is the number of seconds that its clock is ahead. `processed` are the
    accepted events, `refused` is the number of others.
    """

    def __init__(
        self,
        *secrets: str,
        character: Character = "correct",
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__({PATH: self._receive, SYNC: self._sync}, tls=tls)
        self.secrets = list(secrets)
        self.character: Character = character
        self.clock = clock
        self.skew = 0.0
        self.active = 0
        self.processed: list[dict[str, Any]] = []
        self.refused = 0

    @property
    def hook(self) -> str:
        """URL to register at Stripe."""
        return self.url(PATH)

    def _receive(self, request: Received) -> Answer:
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
        """Return whether any `v1` signature of the header is valid, as Stripe's documentation says."""
        items = [
            item.partition("=") for item in request.headers.get("stripe-signature", "").split(",")
        ]
        times = [value for name, _, value in items if name.strip() == "t"]
        if not times or not times[0].isdigit():
            return False
        if abs(self.clock() + self.skew - int(times[0])) > TOLERANCE:
            return False
        signed = times[0].encode() + b"." + request.body
        valid = {hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in self.secrets}
        return any(
            hmac.compare_digest(value, each)
            for name, _, value in items
            if name.strip() == "v1"
            for each in valid
        )

    def _sync(self, request: Received) -> Answer:  # noqa: ARG002
        newest = max((event["created"] for event in self.processed), default=None)
        state = {"last_event_created": newest, "active_subscriptions": self.active}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(state))
