"""Access to the page and the API. Passwords by HTTP authentication, Basic or Bearer."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

CHALLENGE = {
    "www-authenticate": 'Basic realm="probed", charset="UTF-8"',
    "cache-control": "no-store",
}


class Access:
    """Passwords: `read` for readers, None where anybody may read; `admin` to run checks as well."""

    def __init__(self, read: SecretStr | None = None, admin: SecretStr | None = None) -> None:
        self._read = read
        self._admin = admin

    @property
    def administered(self) -> bool:
        """Whether anybody may run checks."""
        return self._admin is not None

    def may_read(self, headers: Mapping[str, str]) -> bool:
        return self._read is None or self._knows(headers, self._read) or self.may_act(headers)

    def may_act(self, headers: Mapping[str, str]) -> bool:
        return self._admin is not None and self._knows(headers, self._admin)

    @staticmethod
    def _knows(headers: Mapping[str, str], secret: SecretStr) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            said = given.strip().encode()
        elif scheme.lower() == "basic":
            try:
                said = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        else:
            return False
        return hmac.compare_digest(said, secret.get_secret_value().encode())


def is_ours(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from a page of ours, or from no page at all: a
    browser sends the password along wherever it was told to go from.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:  # no page can feign it, and with no-referrer the origin is "null"
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


class Reading:
    """Middleware that answers 401 without a reader's password."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._access.may_read(Headers(scope=scope)):
            denied = PlainTextResponse("a password is needed\n", status_code=401, headers=CHALLENGE)
            await denied(scope, receive, send)
            return
        await self._app(scope, receive, send)
