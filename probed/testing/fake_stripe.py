"""Fake of the part of Stripe's API that is read, and of its faults.

Answers follow Stripe's API reference. The tests compare it with localstripe, an independent
implementation, where that covers the same calls.
"""

from __future__ import annotations

import json
import operator
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from probed.testing.webserver import Answer, HttpServer, Received

KEY = "rk_test_" + "probedFake0123456789"
"""A key that it accepts; `mode` is test."""
_PERMISSIONS = {
    "/v1/balance": "rak_balance_read",
    "/v1/charges": "rak_charge_read",
    "/v1/events": "rak_event_read",
    "/v1/webhook_endpoints": "rak_webhook_read",
    "/v1/subscriptions/search": "rak_subscription_read",
}
_HTML_TYPE = {"Content-Type": "text/html"}
_JSON_TYPE = {"Content-Type": "application/json"}
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>" + b"<p>gateway</p>" * 7200

FAULTS: Mapping[str, tuple[int, Mapping[str, str], Mapping[str, Any]]] = {
    "key": (401, {}, {
        "type": "invalid_request_error",
        "message": "Invalid API Key provided: rk_test_*************6789",
    }),
    "expired": (401, {}, {
        "type": "invalid_request_error", "code": "api_key_expired",
        "message": "Expired API Key provided: rk_test_*************6789",
    }),
    "rate": (429, {"Stripe-Rate-Limited-Reason": "endpoint-rate"}, {
        "type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests.",
    }),
    "global-rate": (429, {"Stripe-Rate-Limited-Reason": "global-rate"}, {
        "type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests.",
    }),
    "rate-400": (400, {}, {
        "type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests.",
    }),
    "lock": (429, {}, {
        "type": "invalid_request_error", "code": "lock_timeout", "message": "Another request holds it.",
    }),
    "error": (500, {"Stripe-Should-Retry": "true"}, {
        "type": "api_error", "message": "An unknown error occurred",
    }),
    "conflict": (409, {}, {"type": "api_error", "message": "A conflict."}),
    "idempotency": (400, {}, {"type": "idempotency_error", "message": "Keys for idempotent requests."}),
    "card": (402, {}, {"type": "card_error", "code": "card_declined", "message": "Declined."}),
    "rejected": (400, {}, {
        "type": "invalid_request_error", "code": "parameter_unknown", "message": "Unknown parameter.",
    }),
    "gone": (404, {}, {
        "type": "invalid_request_error", "message": "Unrecognized request URL (GET: /v1/x).",
    }),
}  # fmt: skip
"""Errors by name: status, headers, and Stripe's error object."""


_ODD: Mapping[str, Callable[[], Answer]] = {
    "html": lambda: Answer(502, _HTML_TYPE, _HTML[:200]),
    "huge": lambda: Answer(502, _HTML_TYPE, _HTML),
    "text": lambda: Answer(200, {}, "Sign in to the wireless network"),
    "no-error": lambda: Answer(503, _JSON_TYPE, '{"status": "down"}'),
    "body": lambda: Answer(200, _JSON_TYPE, b'{"a": "' + b"x" * 10_000_000),
    "slow": lambda: Answer(delay=60.0),
    "truncated": lambda: Answer(200, {"Content-Length": "5000"}, b'{"object": "balance"'),
}
"""Answers that do not come from Stripe."""
_NO_KEY = (401, {"WWW-Authenticate": 'Bearer realm="Stripe"'}, {
    "type": "invalid_request_error",
    "message": "You did not provide an API key. You need to provide your API key in the "
    "Authorization header, using Bearer auth.",
})  # fmt: skip
_BOUNDS: Mapping[str, Callable[[int, int], bool]] = {
    "created[gt]": operator.gt, "created[gte]": operator.ge,
    "created[lt]": operator.lt, "created[lte]": operator.le,
}  # fmt: skip


class FakeStripe(HttpServer):
    """Stripe's API with one account. Public attributes may be changed while it runs.

    `faults` maps paths of the API to faults, with `*` for each request with a key and `reach` for those
    without. Besides `FAULTS` there are `permission`, `html`, `text`, `no-error`, `body` (10 MB), `huge`
    (100 KB of HTML), `slow` (an answer after a minute), `truncated`, and `notice` (a valid answer with a
    header that the SDK turns into a warning). `reads` is the number of answers to requests with a key.
    """

    def __init__(
        self,
        *,
        key: str = KEY,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__({}, default=self._reply, tls=tls)
        self.key = key
        self.clock = clock
        self.livemode = False
        self.skew = 0.0
        self.faults: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self.endpoints: list[dict[str, Any]] = []
        self.destinations: list[dict[str, Any]] = []
        self.subscriptions = 0
        self.reads = 0

    @property
    def base(self) -> str:
        """Value of `api_base`."""
        return self.url("").rstrip("/")

    def event(
        self,
        kind: str,
        *,
        age: float = 0.0,
        pending: int = 0,
        **data: Any,
    ) -> dict[str, Any]:
        """Add an event that happened `age` seconds ago and is undelivered to `pending` endpoints."""
        event = {
            "id": f"evt_1Fake{len(self.events):020d}",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": int(self.clock() - age),
            "data": {"object": {"object": kind.rpartition(".")[0], **data}},
            "livemode": self.livemode,
            "pending_webhooks": pending,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }
        self.events.append(event)
        return event

    def endpoint(
        self, url: str, *types: str, status: str = "enabled", version: int = 1
    ) -> dict[str, Any]:
        """Register a webhook endpoint, or with `version=2` an event destination."""
        listed = self.endpoints if version == 1 else self.destinations
        endpoint: dict[str, Any] = {
            "id": f"we_1Fake{len(listed):04d}",
            "enabled_events": list(types or ("*",)),
            "livemode": self.livemode,
            "status": status,
        }
        if version == 1:
            endpoint |= {"object": "webhook_endpoint", "url": url, "api_version": None}
        else:
            endpoint |= {
                "object": "v2.core.event_destination", "type": "webhook_endpoint",
                "webhook_endpoint": {"url": url},
            }  # fmt: skip
        listed.append(endpoint)
        return endpoint

    def _reply(self, request: Received) -> Answer:
        parts = urlsplit(request.target)
        asked = parse_qs(parts.query)
        given = request.headers.get("authorization", "")
        if not given:
            return self._faulty(self.faults.get("reach", ""), parts.path) or self._error(*_NO_KEY)
        fault = self.faults.get(parts.path, self.faults.get("*", ""))
        if given != f"Bearer {self.key}":
            fault = "key"
        found = self._faulty(fault, parts.path) or self._found(request.method, parts.path, asked)
        self.reads += 1
        return found

    def _found(self, method: str, path: str, asked: Mapping[str, list[str]]) -> Answer:
        find = {
            "/v1/balance": self._balance,
            "/v1/charges": self._charges,
            "/v1/events": self._listed_events,
            "/v1/webhook_endpoints": self._endpoints,
            "/v2/core/event_destinations": self._destinations,
            "/v1/subscriptions/search": self._search,
        }.get(path)
        if find is None or method != "GET":
            return self._error(*FAULTS["gone"])
        return find(asked)

    def _balance(self, _: Mapping[str, list[str]]) -> Answer:
        amount = [{"amount": 0, "currency": "eur", "source_types": {"card": 0}}]
        return self._json({
            "object": "balance", "available": amount, "pending": amount, "livemode": self.livemode,
        })  # fmt: skip

    def _charges(self, _: Mapping[str, list[str]]) -> Answer:
        charge = {"id": "ch_1Fake", "object": "charge", "livemode": self.livemode}
        return self._list("/v1/charges", [charge])

    def _endpoints(self, _: Mapping[str, list[str]]) -> Answer:
        return self._list("/v1/webhook_endpoints", self.endpoints[:100])

    def _destinations(self, asked: Mapping[str, list[str]]) -> Answer:
        shown = [dict(each) for each in self.destinations]
        if not any(name.startswith("include") for name in asked):
            for each in shown:
                each["webhook_endpoint"] = None
        return self._json({"data": shown, "next_page_url": None, "previous_page_url": None})

    def _search(self, asked: Mapping[str, list[str]]) -> Answer:
        found: dict[str, Any] = {"object": "search_result", "data": [], "has_more": False}
        if "total_count" in asked.get("expand[]", asked.get("expand[0]", [])):
            found["total_count"] = self.subscriptions
        return self._json(found)

    def _listed_events(self, asked: Mapping[str, list[str]]) -> Answer:
        """Newest first, as the API reference says."""
        known = {
            "limit", "starting_after", "delivery_success", "type", "types[]", "created[gt]",
            "created[gte]", "created[lt]", "created[lte]",
        }  # fmt: skip
        indexed = [values[0] for name, values in asked.items() if name.startswith("types[")]
        if {name for name in asked if not name.startswith("types[")} - known:
            return self._error(*FAULTS["rejected"])
        if len(indexed) > 20:
            return self._error(*FAULTS["rejected"])
        found = sorted(self.events, key=lambda event: event["created"], reverse=True)
        for name, holds in _BOUNDS.items():
            if name in asked:
                bound = int(asked[name][0])
                found = [event for event in found if holds(event["created"], bound)]
        types = set(asked.get("types[]", indexed))
        if types:
            found = [event for event in found if event["type"] in types]
        if "delivery_success" in asked:
            wanted = asked["delivery_success"][0] == "true"
            found = [event for event in found if (event["pending_webhooks"] == 0) is wanted]
        if "starting_after" in asked:
            ids = [event["id"] for event in found]
            found = found[ids.index(asked["starting_after"][0]) + 1 :]
        limit = int(asked.get("limit", ["10"])[0])
        return self._list("/v1/events", found[:limit], more=len(found) > limit)

    def _faulty(self, fault: str, path: str) -> Answer | None:
        if fault in FAULTS:
            return self._error(*FAULTS[fault])
        if fault == "permission":
            lacking = _PERMISSIONS.get(path, "rak_unknown_read")
            return self._error(403, {}, {
                "type": "invalid_request_error",
                "message": "The provided key 'rk_test_*************6789' does not have the required "
                f"permissions for this endpoint. Having the '{lacking}' permission would allow "
                "this request to continue.",
            })  # fmt: skip
        make = _ODD.get(fault)
        if make is not None:
            return make()
        if fault == "notice":
            balance = {"object": "balance", "livemode": self.livemode}
            return self._json(balance, headers={"Stripe-Notice": "Upgrade now."})
        return None

    def _list(self, path: str, found: Sequence[Mapping[str, Any]], *, more: bool = False) -> Answer:
        return self._json({"object": "list", "data": found, "has_more": more, "url": path})

    def _error(self, status: int, headers: Mapping[str, str], error: Mapping[str, Any]) -> Answer:
        return self._json({"error": error}, status=status, headers=headers)

    def _json(
        self, value: Any, *, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Answer:
        return Answer(
            status,
            {
                "Content-Type": "application/json",
                "Date": formatdate(self.clock() + self.skew, usegmt=True),
                "Request-Id": f"req_Fake{len(self.requests):010d}",
                "Stripe-Version": "2026-10-28.endive",
                **headers,
            },
            json.dumps(value),
        )
