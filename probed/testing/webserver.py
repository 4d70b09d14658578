"""A small well-behaved HTTP/1.1 server whose answers can be changed while it runs."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias

from probed.testing.peer import Gone, Peer
from probed.testing.servers import Server

BODY_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in. Names of headers are lower case; of equal ones the last is kept."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer, after `delay` seconds. A header given here replaces the one of that name that
    is sent by default, and is left out where its value is empty.
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


Responder: TypeAlias = Answer | Callable[[Received], Answer]


class HttpServer(Server):
    """Answers by target, or else by path, or else 404. `requests` are those that came in whole."""

    def __init__(
        self,
        answers: Mapping[str, Responder],
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(None, tls=tls, host=host)
        self.answers: dict[str, Responder] = dict(answers)
        self.requests: list[Received] = []

    def url(self, target: str = "/", host: str | None = None) -> str:
        """The URL of a target, by the server's address or by a name for it."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host or self.host}:{self.port}{target}"

    async def _serve(self, peer: Peer) -> None:
        while True:
            request = await _read(peer)
            self.requests.append(request)
            self._notify()
            close = "close" in request.headers.get("connection", "").lower()
            answer = self._answer(request)
            if answer.delay:
                await peer.pause(answer.delay)
            await peer.send(answer.wire(close=close, head_only=request.method == "HEAD"))
            if close:
                return

    def _answer(self, request: Received) -> Answer:
        found = self.answers.get(request.target) or self.answers.get(request.path)
        if found is None:
            return Answer(404, body="not found\n")
        return found if isinstance(found, Answer) else found(request)


def http_server(
    answers: Mapping[str, Responder],
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> HttpServer:
    """A well-behaved server on a free port for an `async with` block."""
    return HttpServer(answers, tls=tls, host=host)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


async def _read(peer: Peer) -> Received:
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
    length = int(headers.get("content-length", "0"))
    if length > BODY_LIMIT:
        raise Gone
    return await peer.read_exactly(length)


async def _chunks(peer: Peer) -> bytes:
    body = b""
    while size := int((await peer.read_line()).partition(b";")[0], 16):
        if len(body) + size > BODY_LIMIT:
            raise Gone
        body += await peer.read_exactly(size)
        await peer.read_line()
    while await peer.read_line():
        pass
    return body
