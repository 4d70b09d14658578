"""probed's HTTP/1.1 as an httpx2 transport, for clients that need the full httpx2 interface."""

from __future__ import annotations

import ssl

import anyio
import httpx2

from probed.clock import Clock
from probed.fields import Tls, Url
from probed.http.message import BODY_LIMIT, Request, Response
from probed.http.roundtrip import fetch
from probed.net import Network
from probed.reasons import ProbeError, Reason
from probed.record import Recorder
from probed.text.redact import Redactor

_SET_BY_US = {"connection", "accept-encoding", "transfer-encoding", "content-length", "host"}


class Transport(httpx2.AsyncBaseTransport):
    """An httpx2 transport that sends each request on a new connection.

    The caller sets the deadline; closing never waits for the peer. With `recorder`, phases and
    facts are recorded there. A body over `body_limit` bytes is an error. Raises
    httpx2.ConnectError or httpx2.RemoteProtocolError, with the cause chained.

    With `cut_after`, the status matters and the body does not: a body that is too large, malformed, cannot
    be decoded, or has not ended after so many seconds is cut or left out, and that of a status other than
    2xx is not read.
    """

    def __init__(
        self,
        network: Network,
        clock: Clock,
        redactor: Redactor,
        *,
        tls: Tls | None = None,
        body_limit: int = BODY_LIMIT,
        recorder: Recorder | None = None,
        cut_after: float | None = None,
    ) -> None:
        self._network = network
        self._clock = clock
        self._redactor = redactor
        self._tls = tls
        self._body_limit = body_limit
        self._recorder = recorder
        self._cut_after = cut_after

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        recorder = self._recorder or Recorder(self._clock, self._redactor)
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in request.headers.raw
            if name.lower().decode("latin-1") not in _SET_BY_US
        }
        try:
            outgoing = Request(
                Url.parse(str(request.url)),
                method=request.method,
                headers=headers,
                body=await request.aread(),
                tls=self._tls,
            )
            answer = await self._fetch(recorder, outgoing)
        except ProbeError as error:
            raise httpx2.RemoteProtocolError(error.message, request=request) from error
        except (OSError, ssl.SSLError) as error:
            raise httpx2.ConnectError(type(error).__name__, request=request) from error
        if self._cut_after is None and (answer.truncated or answer.undecoded):
            raise httpx2.RemoteProtocolError(
                "The body was too large or could not be decoded.", request=request
            )
        return httpx2.Response(
            answer.status,
            headers=[
                (name.encode("latin-1"), value)
                for name, value in answer.headers
                if name not in {"content-encoding", "content-length", "transfer-encoding"}
            ],
            content=answer.body,
            request=request,
        )

    async def _fetch(self, recorder: Recorder, request: Request) -> Response:
        if self._cut_after is None:
            return await fetch(recorder, self._network, request, body_limit=self._body_limit)
        cause: Exception = httpx2.ReadTimeout("no answer in time")
        try:
            with anyio.move_on_after(self._cut_after):
                return await fetch(
                    recorder,
                    self._network,
                    request,
                    body_limit=self._body_limit,
                    unread=lambda status: not 200 <= status < 300,
                )
        except ProbeError as error:
            if error.reason is Reason.CONNECT_CLOSED:
                raise
            cause = error
        status = recorder.facts.get("http.response.status_code")
        if not isinstance(status, int):
            raise cause
        return Response(status=status, truncated=True)
