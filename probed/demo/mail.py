"""The demo's mail relays: a primary and a backup, by aiosmtpd (RFC 5321), with STARTTLS and a login.

They accept a sender and a recipient, but no mail.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anyio.to_thread
from anyio.abc import TaskGroup

from probed.demo.certificates import certificates
from probed.demo.names import BACKUP, DOMAIN
from probed.demo.peer import HOST, Check, DemoPeer, DemoUnavailable, Setting
from probed.testing.peer import Peer
from probed.testing.servers import Server

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP

_USER = "mailer"
PATIENCE = 10.0
"""Seconds without a command after which a relay closes the connection."""


class Relays(DemoPeer):
    """Two healthy relays; `smtp` makes the primary refuse service, `backup` takes the other away."""

    breaks: ClassVar[Mapping[str, str]] = {
        "smtp": "the primary mail relay greets with 554: switch to the backup",
        "backup": "the backup mail relay refuses connections, so no relay could take over",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._servers = {
            "primary": Server(partial(self._talk, "primary")),
            "backup": Server(partial(self._talk, "backup")),
        }
        self._secret = secrets.token_urlsafe(18)

    async def start(self, tasks: TaskGroup) -> None:  # noqa: ARG002  # the servers have their own tasks
        try:
            import aiosmtpd.smtp  # noqa: PLC0415  # only the demo needs it
        except ImportError:
            raise DemoUnavailable(
                "the demo needs aiosmtpd: install probed-daemon with its extra, probed-daemon[demo]"
            ) from None
        # It logs a warning about its own deprecation with each login.
        aiosmtpd.smtp.log.setLevel(logging.ERROR)
        self._authority = self.setting.directory / "mail-ca.pem"
        self._password = self.setting.directory / "mail-password"
        self._context, _ = await anyio.to_thread.run_sync(certificates, self._authority)
        await anyio.to_thread.run_sync(_write_secret, self._password, self._secret)
        for name, server in self._servers.items():
            await self.serve(server)
            self.setting.urls[f"mail-{name}"] = f"smtp://{server.address}"

    async def break_(self, name: str) -> None:
        await super().break_(name)
        if name == "backup":
            await self._servers[name].refuse()

    async def mend(self, name: str) -> None:
        await super().mend(name)
        if name == "backup":
            self._servers[name].resume()

    async def _talk(self, name: str, peer: Peer) -> None:
        """Let aiosmtpd talk on a connection until one side closes it."""
        if name == "primary" and "smtp" in self.broken:
            await _refuse(peer)
            return
        loop = asyncio.get_running_loop()
        lost = asyncio.Event()
        protocol = self._protocol(name, lost)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, peer.socket)
        try:
            await lost.wait()
        finally:
            transport.abort()
            handler = protocol._handler_coroutine  # noqa: SLF001  # it has no public way to end
            if handler is not None:
                handler.cancel()
                await asyncio.gather(handler, return_exceptions=True)

    def _protocol(self, name: str, lost: asyncio.Event) -> SMTP:
        from aiosmtpd.smtp import SMTP  # noqa: PLC0415

        class Relay(SMTP):
            def connection_lost(self, error: Exception | None) -> None:
                super().connection_lost(error)
                lost.set()

        return Relay(
            _NoMail(),
            hostname=f"{name}.mail.{DOMAIN}",
            ident="ESMTP demo",
            tls_context=self._context,
            authenticator=self._judge,
            timeout=PATIENCE,
            loop=asyncio.get_running_loop(),
        )

    def _judge(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:  # noqa: ARG002
        from aiosmtpd.smtp import AuthResult, LoginPassword  # noqa: PLC0415

        valid = isinstance(data, LoginPassword) and hmac.compare_digest(
            data.login + b"\0" + data.password, f"{_USER}\0{self._secret}".encode()
        )
        return AuthResult(success=valid, handled=False)

    def checks(self) -> list[Check]:
        relays = [
            {"name": name, "role": name, "host": HOST, "port": server.port, "tls": "starttls"}
            for name, server in self._servers.items()
        ]
        relays[1]["sends_from"] = [BACKUP]
        return [
            {
                "name": "mail-out",
                "probe": "smtp",
                "relays": relays,
                "helo": f"probe.{DOMAIN}",
                "tls": {"ca": str(self._authority)},
                "auth": {
                    "mechanism": "plain",
                    "username": _USER,
                    "secret": {"file": str(self._password)},
                },
                "envelope": {"from": f"probe@{DOMAIN}", "rcpt": f"canary@{DOMAIN}"},
                "spf": {"server": self.setting.urls["dns"].removeprefix("udp://")},
                "severity": "P1",
            }
        ]


class _NoMail:
    """Handler that accepts senders and recipients, but no mail."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ARG002, N802  # aiosmtpd's name
        return "554 5.7.1 This is a demo: no mail is accepted"


async def _refuse(peer: Peer) -> None:
    """Greet with a refusal, and wait for QUIT."""
    await peer.send(b"554 5.7.1 Service refused: this client is on a block list\r\n")
    await peer.read_line()
    await peer.send(b"221 2.0.0 Bye\r\n")


def _write_secret(path: Path, secret: str) -> None:
    path.touch(mode=0o600)
    path.write_text(secret, encoding="utf-8")
