"""Host names to addresses: literals, the hosts file, then DNS, in the order of Go's resolver.

The system's `getaddrinfo` runs in threads that cannot be cancelled. Its errors do not distinguish
NXDOMAIN from "no such record", nor SERVFAIL from a timeout.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import anyio

from probed.reasons import ProbeError, Reason
from probed.text.redact import sanitize

if TYPE_CHECKING:
    import dns.name

    from probed.net.answer import Answer
    from probed.net.resolv_conf import ResolvConf
    from probed.net.vantage import Vantage

AddressFamily = Literal["any", "ipv4", "ipv6"]
"""The addresses of a host to use."""
ADDRESS_LIMIT = 16
"""Addresses of one name that are tried, at most."""
RECORD_LIMIT = 100
RECORD_LENGTH = 4096
HOSTS_LIMIT = 1 << 20
"""Bytes of the hosts file that are read."""
_NUMERIC = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)\Z")
_RECORD = {"ipv4": "A", "ipv6": "AAAA"}
_SHOWN = {"ipv4": "IPv4", "ipv6": "IPv6"}
_PATIENCE = {"A": 0.05, "AAAA": 1.0}
"""Seconds to wait for the other family once addresses of this one are known (RFC 8305 section 3);
longer after AAAA, because many hosts have no working IPv6.
"""
_Stamp = tuple[int, int, int, int]


class Resolver:
    """Looks up host names. `servers` are `(address, port)`; by default those of `resolv_conf`.

    Files are read again when they change. Nothing is cached: the lookup is part of the probe.
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, int]] = (),
        *,
        hosts: Path | None = Path("/etc/hosts"),
        resolv_conf: Path = Path("/etc/resolv.conf"),
    ) -> None:
        self.servers = tuple(servers)
        self._hosts_file = hosts
        self._hosts: dict[str, list[str]] = {}
        self._hosts_stamp: _Stamp | None = None
        self._resolv_conf = resolv_conf
        self._settings: ResolvConf | None = None
        self._settings_stamp: _Stamp | None = None
        self._turn = 0

    def prepare(self, host: str) -> None:
        """Load the modules that this host's lookup needs, once per process, so that no phase includes it."""
        if self._settings is None and self._known(host) is None:
            import probed.net.vantage  # noqa: F401, PLC0415  # 100 ms; not every host needs it

            self._configuration()

    async def addresses(self, host: str, family: AddressFamily = "any") -> list[str]:
        """Return the addresses of a host, at least one. Raises ProbeError `dns.*`."""
        known = self._known(host)
        if known is None:
            if _top(host) == "invalid":  # never sent to a server (RFC 6761 section 6.4)
                raise ProbeError(Reason.DNS_NXDOMAIN)
            known = await self._from_dns(host, family)
        if family == "any":
            return known
        found = [address for address in known if (":" in address) is (family == "ipv6")]
        if not found:
            raise _none_of(family)
        return found

    def _known(self, host: str) -> list[str] | None:
        """Return the addresses that are known without DNS, or None."""
        literal = _literal(host)
        if literal is not None:
            return [literal]
        found = self._from_hosts(host.rstrip(".").lower())
        if found:
            return found[:ADDRESS_LIMIT]
        return ["127.0.0.1", "::1"] if _top(host) == "localhost" else None  # RFC 6761 section 6.3

    async def query(self, name: str, kind: str, server: tuple[str, int] | None = None) -> list[str]:
        """Return at most `RECORD_LIMIT` records of a name, in zone-file syntax.

        Queries `server`, or else the configured ones. Raises ProbeError `dns.*`.
        """
        import dns.exception  # noqa: PLC0415
        import dns.name  # noqa: PLC0415

        from probed.net.answer import Said  # noqa: PLC0415
        from probed.net.vantage import Vantage  # noqa: PLC0415

        try:
            full = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            raise ProbeError(Reason.DNS_NXDOMAIN, "This is not a valid domain name.") from None
        answer = await Vantage("", [server] if server else self.name_servers()).query(full, kind)
        if answer.said is not Said.ANSWER:
            raise answer.error
        return [sanitize(text, RECORD_LENGTH) for text in answer.texts[:RECORD_LIMIT]]

    def name_servers(self) -> list[tuple[str, int]]:
        """Return address and port of each configured server; `resolv_conf` is read again if it changed."""
        return self._in_turn(self._configuration())

    def _in_turn(self, settings: ResolvConf) -> list[tuple[str, int]]:
        servers = list(settings.servers)
        if settings.rotate:
            self._turn += 1
            turn = self._turn % len(servers)
            servers = servers[turn:] + servers[:turn]
        return servers

    def _from_hosts(self, name: str) -> list[str]:
        if self._hosts_file is None:
            return []
        stamp = _stamp(self._hosts_file)
        if stamp != self._hosts_stamp:
            self._hosts_stamp = stamp
            self._hosts = {} if stamp is None else _read_hosts(self._hosts_file)
        return self._hosts.get(name, [])

    async def _from_dns(self, host: str, family: AddressFamily) -> list[str]:
        import dns.exception  # noqa: PLC0415

        from probed.net.vantage import Vantage  # noqa: PLC0415

        settings = self._configuration()
        vantage = Vantage("", self._in_turn(settings))
        try:
            names = settings.candidates(host)
        except (dns.exception.DNSException, UnicodeError):
            raise ProbeError(Reason.DNS_NXDOMAIN, "This is not a valid host name.") from None
        if family != "any":
            try:
                return (await _search(vantage, names, _RECORD[family]))[:ADDRESS_LIMIT]
            except ProbeError as error:
                raise (_none_of(family) if error.reason is Reason.DNS_NO_DATA else error) from None
        found: dict[str, list[str]] = {}
        errors: dict[str, ProbeError] = {}

        async def query(kind: str) -> None:
            try:
                found[kind] = await _search(vantage, names, kind)
            except ProbeError as error:
                errors[kind] = error
            else:
                tasks.cancel_scope.deadline = anyio.current_time() + _PATIENCE[kind]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(query, "AAAA")
            tasks.start_soon(query, "A")
        addresses = _interleave(found.get("AAAA", []), found.get("A", []))
        if addresses:
            return addresses[:ADDRESS_LIMIT]
        raise errors.get("A") or errors["AAAA"]

    def _configuration(self) -> ResolvConf:
        from probed.net.resolv_conf import ResolvConf, read_resolv_conf  # noqa: PLC0415

        stamp = None if self.servers else _stamp(self._resolv_conf)
        if self._settings is None or stamp != self._settings_stamp:
            self._settings_stamp = stamp
            if self.servers:
                self._settings = ResolvConf(self.servers)
            else:
                self._settings = read_resolv_conf(self._resolv_conf)
        return self._settings


_GO_ON = {"nxdomain": 0, "server_failure": 1, "nodata": 2}
"""Answers after which the next full name is looked up; the greatest is what is told of them all."""


async def _search(vantage: Vantage, names: Sequence[dns.name.Name], kind: str) -> list[str]:
    """Return the addresses of the first of these full names that has some; glibc goes on from one to the
    next in the same cases. Raises ProbeError `dns.*` or `timeout.resolve`.
    """
    from probed.net.answer import Said  # noqa: PLC0415

    failed: list[Answer] = []
    for name in names:
        answer = await vantage.query(name, kind)
        if answer.said is Said.ANSWER:
            return answer.texts
        if answer.said is Said.TIMEOUT:
            raise ProbeError(Reason.TIMEOUT_RESOLVE)
        failed.append(answer)
        if answer.said not in _GO_ON:
            break
    raise max(failed, key=lambda each: _GO_ON.get(each.said, 3)).error


@lru_cache(maxsize=4096)
def _literal(host: str) -> str | None:
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    # No host name ends in a number: `2130706433`, `0177.1` and `0x7f.1` are IPv4 addresses.
    bare = host.rstrip(".")
    if not _NUMERIC.match(bare.rpartition(".")[2]):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(bare))
    except OSError:
        return None


def _none_of(family: AddressFamily) -> ProbeError:
    return ProbeError(Reason.DNS_NO_DATA, f"The host has no {_SHOWN[family]} address.")


def _top(host: str) -> str:
    return host.rstrip(".").lower().rpartition(".")[2]


def _interleave(first: list[str], second: list[str]) -> list[str]:
    """Return the addresses with alternating families, IPv6 first (RFC 8305 section 4)."""
    mixed = [address for pair in zip(first, second, strict=False) for address in pair]
    shorter = min(len(first), len(second))
    return mixed + first[shorter:] + second[shorter:]


def _stamp(path: Path) -> _Stamp | None:
    """Return a value that changes with the file, also where a link is turned to another one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read_hosts(path: Path) -> dict[str, list[str]]:
    """Return the addresses by name of a hosts file (hosts(5)), in lower case. Invalid lines are ignored."""
    names: dict[str, list[str]] = {}
    try:
        with path.open("rb") as file:
            text = file.read(HOSTS_LIMIT).decode("utf-8", "replace")
    except OSError:
        return names
    for line in text.splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        try:
            plain = str(ip_address(address.partition("%")[0]))
        except ValueError:
            continue
        for alias in aliases:
            known = names.setdefault(alias.rstrip(".").lower(), [])
            if plain not in known:
                known.append(plain)
    return names
