"""The resolver's configuration file (resolv.conf(5)), read as glibc reads it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import dns.exception
import dns.name

log = logging.getLogger("probed.net")

FILE_LIMIT = 64 * 1024
SERVERS = 3
"""Name servers that are used, and the domains and dots that count: limits of glibc."""
DOMAINS = 32
DOTS = 15
PORT = 53
LOCAL = "127.0.0.1"
"""The server where the file names none."""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """Name servers as `(address, port)`, and how names are completed. A name with fewer than `ndots` dots
    is looked up in the domains of `search` first. With `rotate`, queries begin at each server in turn.
    """

    servers: tuple[tuple[str, int], ...] = ((LOCAL, PORT),)
    search: tuple[dns.name.Name, ...] = ()
    ndots: int = 1
    rotate: bool = False

    def candidates(self, host: str) -> list[dns.name.Name]:
        """Return the full names to look up in turn. Raises dns.exception.DNSException or UnicodeError
        for what is no name.
        """
        relative = dns.name.from_text(host, None)
        if relative.is_absolute():
            return [relative]
        full = relative.concatenate(dns.name.root)
        completed = []
        for domain in self.search:
            try:
                completed.append(relative.concatenate(domain))
            except dns.name.NameTooLong:
                continue
        enough = len(relative.labels) - 1 >= self.ndots
        ordered = [full, *completed] if enough else [*completed, full]
        return list(dict.fromkeys(ordered))


def read_resolv_conf(path: Path) -> ResolvConf:
    """Return what the file says. What is not understood is passed over, and said in the log; a file that
    cannot be read names no server. Does not raise.
    """
    try:
        with path.open("rb") as file:
            text = file.read(FILE_LIMIT).decode("utf-8", "replace")
    except OSError as error:
        log.warning("%s: %s; using the name server %s", path, error.strerror, LOCAL)
        return ResolvConf()
    servers: list[tuple[str, int]] = []
    search: tuple[dns.name.Name, ...] = ()
    options: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        word, *rest = line.split() or [""]
        if word == "nameserver":
            address = _address(rest[0] if rest else "")
            if address is None:
                log.warning("%s:%d: no address of a name server; the line is ignored", path, number)
            elif len(servers) < SERVERS:
                servers.append((address, PORT))
        elif word in {"search", "domain"}:
            search = _domains(rest[: DOMAINS if word == "search" else 1], path, number)
        elif word == "options":
            options |= {name: value for name, _, value in (each.partition(":") for each in rest)}
    ndots = options.get("ndots", "1")
    return ResolvConf(
        tuple(servers) or ((LOCAL, PORT),),
        search,
        min(int(ndots), DOTS) if ndots.isascii() and ndots.isdecimal() else 1,
        "rotate" in options,
    )


def _address(text: str) -> str | None:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return text


def _domains(words: list[str], path: Path, number: int) -> tuple[dns.name.Name, ...]:
    found = []
    for word in words:
        try:
            found.append(dns.name.from_text(word))
        except (dns.exception.DNSException, UnicodeError):
            log.warning("%s:%d: a domain that is no name; it is ignored", path, number)
    return tuple(found)
