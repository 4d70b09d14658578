"""A small well-behaved HTTP/1.1 server whose answers can be changed while it runs."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias

from probed.testing.peer import Peer
from probed.testing.servers import Server

BODY_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """A request. Header names are in lower case; of repeated headers the last one counts."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, sent after `delay` seconds. A header replaces the default one of that name, and is
    omitted if its value is empty. `Connection: close` closes the connection after it.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str = b""
    delay: float = 0.0

    def wire(self, *, close: bool, head_only: bool) -> bytes:
        body = self.body.encode() if isinstance(self.body, str) else self.body
        fields = {"content-type": "text/plain; charset=utf-8"}
        if self.status >= 200 and self.status not in {204, 304}:
            fields["content-length"] = str(len(body))
        if close:
            fields["connection"] = "close"
        fields |= {name.lower(): value for name, value in self.headers.items()}
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in fields.items() if value]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if head_only or self.status in {204, 304} else head + body


NOT_FOUND = Answer(404, body="not found\n")
Responder: TypeAlias = Answer | Callable[[Received], Answer | Awaitable[Answer]]


class HttpServer(Server):
    """HTTP/1.1 server: answers by target, else by path, else with `default`.

    `requests` are the complete requests so far; `answers` and `default` may be changed while it runs.
    """

    def __init__(
        self,
        answers: Mapping[str, Responder],
        *,
        default: Responder = NOT_FOUND,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(None, tls=tls, host=host)
        self.answers: dict[str, Responder] = dict(answers)
        self.default = default
        self.requests: list[Received] = []

    def url(self, target: str = "/", host: str | None = None) -> str:
        """Return the URL of a target, with the server's address or another host name for it."""
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{host or self.host}:{self.port}{target}"

    async def _serve(self, peer: Peer) -> None:
        while True:
            try:
                request = await _read(peer)
            except ValueError as error:
                bad = Answer(400, body=f"{error}\n")
                await peer.send(bad.wire(close=True, head_only=False))
                return
            self.requests.append(request)
            self._notify()
            answer = await self._answer(request)
            close = _closes(request.headers) or _closes(answer.headers)
            if answer.delay:
                await peer.pause(answer.delay)
            await peer.send(answer.wire(close=close, head_only=request.method == "HEAD"))
            if close:
                return

    async def _answer(self, request: Received) -> Answer:
        found = self.answers.get(request.target) or self.answers.get(request.path) or self.default
        if isinstance(found, Answer):
            return found
        answer = found(request)
        return answer if isinstance(answer, Answer) else await answer


def http_server(
    answers: Mapping[str, Responder],
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> HttpServer:
    """Return a well-behaved server on a free port, for an `async with` block."""
    return HttpServer(answers, tls=tls, host=host)


def _closes(headers: Mapping[str, str]) -> bool:
    options = (value for name, value in headers.items() if name.lower() == "connection")
    return any("close" in value.lower() for value in options)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


async def _read(peer: Peer) -> Received:
    """Read one request. Raises ValueError if its body cannot be read, Gone if it ends early."""
    head = (await peer.read_until(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.split("\r\n")
    method, _, target = line.rpartition(" ")[0].partition(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (header.partition(":") for header in rest)
    }
    return Received(method, target, headers, await _body(peer, headers))


async def _body(peer: Peer, headers: Mapping[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _chunks(peer)
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_LIMIT:
        raise ValueError("invalid content-length")
    return await peer.read_exactly(int(length))


async def _chunks(peer: Peer) -> bytes:
    body = b""
    while size := int((await peer.read_line()).partition(b";")[0], 16):
        if not 0 <= size <= BODY_LIMIT - len(body):
            raise ValueError("invalid chunk size")
        body += await peer.read_exactly(size)
        await peer.read_line()
    while await peer.read_line():
        pass
    return body
