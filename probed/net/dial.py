"""From a name and a port to a stream, within the run's deadline."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import anyio

from probed.model import Outcome
from probed.net.deny import DenyList
from probed.net.resolve import AddressFamily, Resolver
from probed.net.stream import Stream, connect
from probed.net.tls import UNVERIFIED, Certificates, Contexts, TlsOptions
from probed.reasons import ProbeError, Reason
from probed.record import Recorder

if TYPE_CHECKING:
    from probed.net.answer import Server
    from probed.net.vantage import Vantage

Upgrade = Callable[[Stream], Awaitable[None]]
"""What is said in clear before the TLS handshake."""
STAGGER = 0.25
"""Seconds before the next address is tried beside the one before (RFC 8305 section 5)."""
SECOND_LOOK = 1.0
"""Seconds that fetching the facts of a refused certificate may take."""


_NONE_OF_OURS = "The peer broke off where it may ask for our certificate: set tls.certificate."
_LACKING = {
    errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL,
}  # fmt: skip


class Network:
    """The network as runs see it: its resolver, its deny-list, its TLS contexts. One a process.

    `dns_port` is where name servers listen that are known by their names alone.
    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        deny: DenyList | None = None,
        *,
        dns_port: int = 53,
    ) -> None:
        self.resolver = resolver or Resolver()
        self.dns_port = dns_port
        self.deny = deny or DenyList()
        self.contexts = Contexts()
        self.certificates = Certificates()

    def vantage(self, name: str, servers: Sequence[Server], *, zone: bool = False) -> Vantage:
        """Name servers to ask in one run; those that nobody may ask are left out."""
        from probed.net.vantage import Vantage  # noqa: PLC0415  # dnspython, as in `Resolver`

        allowed = [server for server in servers if not self.deny.denies(server[0])]
        return Vantage(name, allowed, zone=zone)

    async def dial(
        self,
        recorder: Recorder,
        host: str,
        port: int,
        *,
        tls: TlsOptions | None = None,
        server_name: str | None = None,
        family: AddressFamily = "any",
        uds: str | None = None,
    ) -> Stream:
        """Phases `resolve`, `connect` and, with `tls`, `tls`. With `uds` it connects to that unix
        socket, and resolves nothing.

        The certificate is verified for `server_name`, or else for the host. Raises OSError,
        ssl.SSLError or ProbeError; nothing stays open then.
        """
        context = None if tls is None else self.contexts.get(tls)
        recorder.fact("server.address", host)
        recorder.fact("server.port", port)
        if uds is not None:
            recorder.fact("network.transport", "unix")
            recorder.fact("network.peer.address", uds)
            with recorder.phase("connect"):
                stream = _connect_unix(uds)
        else:
            with recorder.phase("resolve"):
                addresses = await self.resolver.addresses(host, family)
            with recorder.phase("connect"):
                allowed = [address for address in addresses if not self.deny.denies(address)]
                if not allowed:
                    raise ProbeError(Reason.CONNECT_DENIED, level=Outcome.UNKNOWN)
                recorder.fact("network.peer.address", allowed[0])
                stream = await _first(allowed, port)
                recorder.fact("network.peer.address", stream.peer)
        if tls is not None and context is not None:
            try:
                await self.start_tls(recorder, stream, tls, server_name or host)
            except BaseException:
                stream.close()
                raise
        return stream

    async def start_tls(
        self,
        recorder: Recorder,
        stream: Stream,
        tls: TlsOptions,
        server_name: str,
        upgrade: Upgrade | None = None,
    ) -> None:
        """Speak TLS on an open stream: phase `tls`, then facts of the certificate.

        They are found also when verification fails: from the failed handshake where Python can
        tell (3.13), else by a second one that accepts anything and sends nothing. `upgrade` is
        what must be said on a new connection before it (STARTTLS).
        """
        context = self.contexts.get(tls)
        if tls.certificate is not None:
            recorder.fact("probed.tls.client_certificate", True)
        try:
            with recorder.phase("tls"):
                await stream.handshake(context, server_name)
        except ssl.SSLCertVerificationError as error:
            recorder.fault = error
            await self._second_look(recorder, stream, server_name, upgrade)
            raise
        except ssl.SSLError as error:
            if _wants_ours(error, stream):
                raise ProbeError(Reason.TLS_CLIENT_CERTIFICATE, _NONE_OF_OURS) from None
            raise
        wrapped = stream.socket
        assert isinstance(wrapped, ssl.SSLSocket)
        recorder.certificate = self.certificates.of(wrapped, verified=tls.verify)
        recorder.fact("tls.protocol.version", (wrapped.version() or "").removeprefix("TLSv"))
        cipher = wrapped.cipher()
        recorder.fact("tls.cipher", cipher[0] if cipher else None)

    async def _second_look(
        self, recorder: Recorder, failed: Stream, server_name: str, upgrade: Upgrade | None
    ) -> None:
        assert isinstance(failed.socket, ssl.SSLSocket)
        recorder.certificate = self.certificates.of_failed(failed.socket)
        if recorder.certificate is not None:
            return
        port = recorder.facts["server.port"]
        assert isinstance(port, int)
        with anyio.move_on_after(SECOND_LOOK):
            unix = failed.socket.family == socket.AF_UNIX
            try:
                stream = _connect_unix(failed.peer) if unix else await connect(failed.peer, port)
            except (OSError, ProbeError):
                return
            try:
                if upgrade is not None:
                    await upgrade(stream)
                await stream.handshake(self.contexts.get(UNVERIFIED), server_name)
                wrapped = stream.socket
                assert isinstance(wrapped, ssl.SSLSocket)
                recorder.certificate = self.certificates.of(wrapped, verified=False)
            except (OSError, ProbeError):
                pass
            finally:
                stream.close()


def _wants_ours(error: ssl.SSLError, stream: Stream) -> bool:
    """Whether a peer broke off for want of our certificate. TLS 1.2 has no alert for that alone: it
    is what `handshake_failure` means once a cipher is agreed on.
    """
    if error.reason != "SSLV3_ALERT_HANDSHAKE_FAILURE":
        return False
    return isinstance(stream.socket, ssl.SSLSocket) and stream.socket.cipher() is not None


async def _first(addresses: list[str], port: int) -> Stream:
    """The first of the addresses that connects (RFC 8305); the first one's error if none does."""
    if len(addresses) == 1:
        return await connect(addresses[0], port)
    won: list[Stream] = []
    errors: dict[int, OSError] = {}

    async def attempt(index: int, failed: anyio.Event) -> None:
        try:
            stream = await connect(addresses[index], port)
        except OSError as error:
            errors[index] = error
            failed.set()
            return
        if won:
            stream.close()
        else:
            won.append(stream)
            tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            for index in range(len(addresses)):
                failed = anyio.Event()
                tasks.start_soon(attempt, index, failed)
                with anyio.move_on_after(STAGGER):
                    await failed.wait()
    except BaseException:
        for stream in won:
            stream.close()
        raise
    if won:
        return won[0]
    # An address family that this machine lacks says nothing of the peer: another error is better.
    ordered = [errors[index] for index in sorted(errors)]
    raise next((error for error in ordered if error.errno not in _LACKING), ordered[0])


def _connect_unix(path: str) -> Stream:
    """At once: the kernel either queues a connection to a unix socket or refuses it (unix(7))."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise _of_unix(error) from None
    return Stream(sock, path)


def _of_unix(error: OSError) -> ProbeError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ProbeError(Reason.CONNECT_REFUSED, "There is no such unix socket.")
    if isinstance(error, ConnectionRefusedError):
        return ProbeError(Reason.CONNECT_REFUSED, "Nobody listens on the unix socket.")
    if isinstance(error, BlockingIOError):
        return ProbeError(Reason.CONNECT_REFUSED, "The unix socket's queue is full.")
    if isinstance(error, PermissionError):
        return ProbeError(
            Reason.SELF_PERMISSION,
            "This process may not connect to the unix socket.",
            level=Outcome.UNKNOWN,
        )
    return ProbeError(Reason.CONNECT_FAILED, "The unix socket cannot be connected to.")
