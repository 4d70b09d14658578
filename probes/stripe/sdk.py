"""Stripe's SDK behind our transport. The one module that imports it: 0.15 s, done in a thread.

Nothing but GET leaves the process, nothing is retried, no telemetry is sent and no file is written.
Of an answer the SDK is given what is used of it: never a customer's data, never a text without bound.
"""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections.abc import Mapping
from typing import Any

# With it the SDK prints bodies and URLs; it is read while it is imported.
os.environ.pop("STRIPE_LOG", None)

import stripe

from probed import Outcome, ProbeError, Reasons, Request, Response, Url
from probes.stripe.answers import read
from probes.stripe.reasons import StripeReason
from probes.stripe.settings import StripeSettings
from probes.stripe.step import Step

stripe.enable_telemetry = False
stripe.log = None
logging.getLogger("stripe").setLevel(logging.WARNING)

BODY_LIMIT = 4 << 20
"""Bytes of a page of a list."""
_SHOWN = ("request-id", "stripe-version", "stripe-should-retry", "stripe-rate-limited-reason")
_PERMISSION = re.compile(r"\brak_[a-z_]{1,60}")
_CODE = re.compile(r"[a-z_]{1,64}\Z")


class ReadOnlyViolation(RuntimeError):  # noqa: N818  # it names what was prevented
    """Something other than one GET was about to be sent to Stripe."""


class Client(stripe.HTTPClient):
    """The SDK's requests as those of a step."""

    name = "probed"

    def __init__(self, step: Step, settings: StripeSettings) -> None:
        super().__init__()
        self._step = step
        self._tls = settings.tls
        self.answer = Response()

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        if method.lower() != "get" or post_data is not None:
            raise ReadOnlyViolation(f"{method} is not sent to Stripe")
        # What else it says, of this machine and its programs, is nobody's business.
        sent = {key: headers[key] for key in ("Authorization", "Stripe-Version") if key in headers}
        request = Request(Url(url), headers=sent, tls=self._tls)
        self.answer = answer = await self._step.fetch(request, body_limit=BODY_LIMIT)
        return json.dumps(read(answer)).encode(), answer.status, _shown(answer)

    async def sleep_async(self, secs: float) -> None:
        raise ReadOnlyViolation(f"the SDK was about to ask again in {secs} s")

    async def close_async(self) -> None:
        """Nothing is open."""


class Api:
    """The API as one step asks it. `reads` counts what comes off the account's allocation."""

    def __init__(self, step: Step, settings: StripeSettings) -> None:
        assert settings.key is not None
        self._step = step
        self._settings = settings
        self._client = Client(step, settings)
        self.reads = 0
        # Made for each step: the SDK keeps the key in its options.
        self._sdk = stripe.StripeClient(
            settings.key.get_secret_value(),
            base_addresses={"api": settings.api_base.rstrip("/")},
            http_client=self._client,
            max_network_retries=0,
            stripe_version=settings.api_version,
        )

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """The answer, as far as it is used. Raises OSError, ssl.SSLError or ProbeError."""
        step = self._step
        step.run.evidence = {}
        try:
            answered = await self._sdk.raw_request_async("get", path, **parameters)
        except stripe.StripeError as error:
            raise self._judge(error) from None
        finally:
            if self._client.answer.status:
                self.reads += 1
        step.run.evidence = _shown(self._client.answer)
        data = answered.data
        assert isinstance(data, dict)
        return data

    @property
    def wait_s(self) -> float:
        """How long the last answer took to begin."""
        return self._client.answer.wait_s

    def _judge(self, error: stripe.StripeError) -> ProbeError:
        """By class, status and code; of its text no more than the name of a permission."""
        # The SDK's frames hold the error that holds them: garbage that only a search would find.
        traceback.clear_frames(error.__traceback__)
        answer, code = self._client.answer, _code(error)
        self._step.run.evidence = {"status": answer.status, **_shown(answer)}
        if code:
            self._step.run.evidence["code"] = code
        level, reason, message = self._row(error, answer.status, code)
        return ProbeError(reason, message, level=level)

    def _row(
        self, error: stripe.StripeError, status: int, code: str
    ) -> tuple[Outcome, Reasons, str | None]:
        step = self._step
        if isinstance(error, stripe.AuthenticationError):
            level = Outcome.FAILED if self._settings.key_shared else Outcome.UNKNOWN
            expired = code == "api_key_expired"
            return level, StripeReason.KEY_EXPIRED if expired else StripeReason.AUTH_REJECTED, None
        if isinstance(error, stripe.PermissionError):
            found = _PERMISSION.search(error.user_message or "")
            lacking = found[0] if found else "that Stripe does not name"
            step.run.evidence["permission"] = lacking
            message = f"For the step {step.name} the restricted key lacks the permission {lacking}."
            return Outcome.UNKNOWN, StripeReason.PERMISSION_MISSING, message
        if isinstance(error, stripe.RateLimitError):
            why = step.run.evidence.get("stripe-rate-limited-reason")
            if code == "lock_timeout" and why is None:
                return Outcome.UNKNOWN, StripeReason.LOCKED, None
            if why == "global-rate":
                message = "Stripe limits the whole account: the application's requests fail too."
                step.find(Outcome.DEGRADED, StripeReason.RATE_LIMITED, message, step.run.evidence)
            return Outcome.UNKNOWN, StripeReason.RATE_LIMITED, None
        if isinstance(error, stripe.InvalidRequestError):
            return Outcome.UNKNOWN, StripeReason.REQUEST_REJECTED, None
        message = f"Stripe's API answers with an error of its own ({status})."
        return Outcome.FAILED, StripeReason.API_ERROR, message


def _code(error: stripe.StripeError) -> str:
    body = error.json_body
    told = body.get("error") if isinstance(body, dict) else None
    code = told.get("code") if isinstance(told, dict) else None
    return code if isinstance(code, str) and _CODE.match(code) else ""


def _shown(answer: Response) -> dict[str, Any]:
    return {key: value[:128] for key in _SHOWN if (value := answer.header(key)) is not None}
