"""The demo's mail relays: a primary and a backup, by aiosmtpd (RFC 5321), with STARTTLS and a login.

They take a sender and a recipient, and never a mail.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anyio.to_thread
from anyio.abc import TaskGroup

from probed.demo.certificates import certificates
from probed.demo.names import BACKUP, DOMAIN
from probed.demo.peer import Check, DemoUnavailable, Peer, Setting
from probed.demo.wire import HOST, PATIENCE, Port

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP

_USER = "mailer"


class Relays(Peer):
    """Two relays that are well; `smtp` makes the primary refuse, `backup` takes the other away."""

    breaks: ClassVar[Mapping[str, str]] = {
        "smtp": "the primary mail relay greets with 554: switch to the backup",
        "backup": "the backup mail relay refuses connections, so nobody could take over",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._ports = {"primary": Port(), "backup": Port()}
        self._servers: dict[str, asyncio.Server] = {}
        self._open: set[SMTP] = set()
        self._secret = secrets.token_urlsafe(18)

    async def start(self, tasks: TaskGroup) -> None:  # noqa: ARG002  # asyncio's own server
        try:
            import aiosmtpd.smtp  # noqa: PLC0415  # only the demo needs it
        except ImportError:
            raise DemoUnavailable(
                "the demo needs aiosmtpd: install probed-daemon with its extra, probed-daemon[demo]"
            ) from None
        # It warns of a deprecation of its own with each login.
        aiosmtpd.smtp.log.setLevel(logging.ERROR)
        self._authority = self.setting.directory / "mail-ca.pem"
        self._password = self.setting.directory / "mail-password"
        self._context, _ = await anyio.to_thread.run_sync(certificates, self._authority)
        await anyio.to_thread.run_sync(_write_secret, self._password, self._secret)
        for name in self._ports:
            await self._listen(name)
            self.setting.urls[f"mail-{name}"] = f"smtp://{self._ports[name]}"

    async def stop(self) -> None:
        for name in list(self._servers):
            await self._refuse(name)
        for port in self._ports.values():
            await port.release()

    async def break_(self, name: str) -> None:
        await super().break_(name)
        if name == "backup":
            await self._refuse(name)

    async def mend(self, name: str) -> None:
        await super().mend(name)
        if name == "backup":
            await self._listen(name)

    async def _listen(self, name: str) -> None:
        if name not in self._servers:
            self._servers[name] = await asyncio.get_running_loop().create_server(
                lambda: self._protocol(name), HOST, self._ports[name].number, reuse_port=True
            )

    async def _refuse(self, name: str) -> None:
        server = self._servers.pop(name, None)
        if server is None:
            return
        server.close()
        ending = [protocol for protocol in self._open if protocol.hostname == _hostname(name)]
        self._open.difference_update(ending)
        tasks = []
        for protocol in ending:
            if isinstance(protocol.transport, asyncio.WriteTransport):
                protocol.transport.abort()
            task = protocol._handler_coroutine  # noqa: SLF001  # it has no public way to end
            if task is not None:
                task.cancel()
                tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    def _protocol(self, name: str) -> asyncio.BaseProtocol:
        if name == "primary" and "smtp" in self.broken:
            return _Refusing()
        from aiosmtpd.smtp import SMTP  # noqa: PLC0415

        protocol = SMTP(
            _NoMail(),
            hostname=_hostname(name),
            ident="ESMTP demo",
            tls_context=self._context,
            authenticator=self._judge,
            timeout=PATIENCE,
            loop=asyncio.get_running_loop(),
        )
        self._open = {one for one in self._open if one.transport is not None}
        self._open.add(protocol)
        return protocol

    def _judge(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:  # noqa: ARG002
        from aiosmtpd.smtp import AuthResult, LoginPassword  # noqa: PLC0415

        right = isinstance(data, LoginPassword) and hmac.compare_digest(
            data.login + b"\0" + data.password, f"{_USER}\0{self._secret}".encode()
        )
        return AuthResult(success=right, handled=False)

    def checks(self) -> list[Check]:
        relays = [
            {"name": name, "role": name, "host": HOST, "port": port.number, "tls": "starttls"}
            for name, port in self._ports.items()
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
    """Sender and recipient are taken, and no mail is."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ARG002, N802  # aiosmtpd's name
        return "554 5.7.1 This is a demo: no mail is taken"


class _Refusing(asyncio.Protocol):
    """It greets with a refusal, and waits for QUIT."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"554 5.7.1 Service refused: this client is on a block list\r\n")

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        self._transport.write(b"221 2.0.0 Bye\r\n")
        self._transport.close()


def _hostname(name: str) -> str:
    return f"{name}.mail.{DOMAIN}"


def _write_secret(path: Path, secret: str) -> None:
    path.touch(mode=0o600)
    path.write_text(secret, encoding="utf-8")
