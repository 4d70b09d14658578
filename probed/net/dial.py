"""The dialer: from a host name and a port to an open stream."""

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
"""The dialogue in the clear before the TLS handshake (STARTTLS)."""
STAGGER = 0.25
"""Seconds before the next address is tried in parallel (RFC 8305 section 5)."""
CERTIFICATE_SECONDS = 1.0
"""Seconds for fetching the facts of a certificate that failed verification."""


_NO_CLIENT_CERTIFICATE = (
    "The peer aborted the handshake; it may require a client certificate: set tls.certificate."
)
_NO_ROUTE = {
    errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL,
}  # fmt: skip


class Network:
    """The network as runs see it: resolver, deny list, TLS contexts. One per process.

    `dns_port` is the port of name servers that are known by name only.
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
        """Return a view of these name servers for one run, without those on the deny list.

        This machine's own resolvers are queried wherever they are: clouds have theirs at the address
        of the metadata service. A zone's servers are never excused.
        """
        from probed.net.vantage import Vantage  # noqa: PLC0415  # loads dnspython

        excused = () if zone else self.resolver.name_servers()
        allowed = [each for each in servers if each in excused or not self.deny.denies(each[0])]
        return Vantage(name, allowed, zone=zone)

    async def addresses(self, host: str, family: AddressFamily = "any") -> list[str]:
        """Return the addresses of a host that may be contacted, at least one. Raises ProbeError `dns.*`
        or `connect.denied`.
        """
        return self._allowed(await self.resolver.addresses(host, family))

    def _allowed(self, addresses: Sequence[str]) -> list[str]:
        allowed = [address for address in addresses if not self.deny.denies(address)]
        if not allowed:
            raise ProbeError(Reason.CONNECT_DENIED, level=Outcome.UNKNOWN)
        return allowed

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
        """Connect: phases `resolve`, `connect` and, with `tls`, `tls`. With `uds`, connect to that unix
        socket and resolve nothing.

        The certificate is verified for `server_name`, or else for the host. Raises OSError,
        ssl.SSLError or ProbeError, and leaves nothing open then.
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
                allowed = self._allowed(addresses)
                recorder.fact("network.peer.address", allowed[0])
                stream = await _connect_first(allowed, port)
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
        """Start TLS on an open stream: phase `tls`, then record the facts of the certificate.

        The facts are also found when verification fails: from the failed handshake (Python 3.13),
        else by a second handshake that accepts any certificate and sends nothing. `upgrade` is
        the dialogue that a new connection needs before its handshake (STARTTLS).
        """
        context = self.contexts.get(tls)
        if tls.certificate is not None:
            recorder.fact("probed.tls.client_certificate", True)
        try:
            with recorder.phase("tls"):
                await stream.handshake(context, server_name)
        except ssl.SSLCertVerificationError as error:
            recorder.fault = error
            await self._fetch_certificate(recorder, stream, server_name, upgrade)
            raise
        except ssl.SSLError as error:
            if _wants_client_certificate(error, stream):
                raise ProbeError(Reason.TLS_CLIENT_CERTIFICATE, _NO_CLIENT_CERTIFICATE) from None
            raise
        session = stream.tls
        assert session is not None
        recorder.certificate = self.certificates.of(session, verified=tls.verify)
        recorder.fact("tls.protocol.version", (session.version() or "").removeprefix("TLSv"))
        cipher = session.cipher()
        recorder.fact("tls.cipher", cipher[0] if cipher else None)

    async def _fetch_certificate(
        self, recorder: Recorder, failed: Stream, server_name: str, upgrade: Upgrade | None
    ) -> None:
        assert failed.tls is not None
        recorder.certificate = self.certificates.of_failed(failed.tls)
        if recorder.certificate is not None:
            return
        port = recorder.facts["server.port"]
        assert isinstance(port, int)
        with anyio.move_on_after(CERTIFICATE_SECONDS):
            unix = failed.socket.family == socket.AF_UNIX
            try:
                stream = _connect_unix(failed.peer) if unix else await connect(failed.peer, port)
            except (OSError, ProbeError):
                return
            try:
                if upgrade is not None:
                    await upgrade(stream)
                await stream.handshake(self.contexts.get(UNVERIFIED), server_name)
                assert stream.tls is not None
                recorder.certificate = self.certificates.of(stream.tls, verified=False)
            except (OSError, ProbeError):
                pass
            finally:
                stream.close()


def _wants_client_certificate(error: ssl.SSLError, stream: Stream) -> bool:
    """Whether the peer aborted because it got no client certificate. TLS 1.2 has no alert of its own
    for that: it is what `handshake_failure` means once a cipher is agreed on.
    """
    if error.reason != "SSLV3_ALERT_HANDSHAKE_FAILURE":
        return False
    return stream.tls is not None and stream.tls.cipher() is not None


async def _connect_first(addresses: list[str], port: int) -> Stream:
    """Return the first connection that succeeds (RFC 8305). Raises the first address's error if none
    does.
    """
    if len(addresses) == 1:
        return await connect(addresses[0], port)
    won: list[Stream] = []
    errors: dict[int, OSError] = {}

    async def try_address(index: int, failed: anyio.Event) -> None:
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
                tasks.start_soon(try_address, index, failed)
                with anyio.move_on_after(STAGGER):
                    await failed.wait()
    except BaseException:
        for stream in won:
            stream.close()
        raise
    if won:
        return won[0]
    # An address family that this machine lacks says nothing about the peer: prefer another error.
    ordered = [errors[index] for index in sorted(errors)]
    raise next((error for error in ordered if error.errno not in _NO_ROUTE), ordered[0])


def _connect_unix(path: str) -> Stream:
    """Connect at once: the kernel either queues a connection to a unix socket or refuses it (unix(7))."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise _unix_error(error) from None
    return Stream(sock, path)


def _unix_error(error: OSError) -> ProbeError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ProbeError(Reason.CONNECT_REFUSED, "The unix socket does not exist.")
    if isinstance(error, ConnectionRefusedError):
        return ProbeError(
            Reason.CONNECT_REFUSED, "Connection refused: nothing is listening on the unix socket."
        )
    if isinstance(error, BlockingIOError):
        return ProbeError(Reason.CONNECT_REFUSED, "The unix socket's queue is full.")
    if isinstance(error, PermissionError):
        return ProbeError(
            Reason.SELF_PERMISSION,
            "probed has no permission to connect to the unix socket.",
            level=Outcome.UNKNOWN,
        )
    return ProbeError(Reason.CONNECT_FAILED, "Cannot connect to the unix socket.")
