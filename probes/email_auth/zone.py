"""The zone's own servers: which they are, and those of them that answer with authority."""

from __future__ import annotations

from probed import HostPort, Reason, Run, Vantage
from probed.mail import Lookup, TempFail, through

SERVERS = 8
ADDRESSES = 2
"""Addresses of each server that are queried."""
DEPTH = 8
"""Labels that are left out in search of the zone."""


async def own_servers(
    run: Run, vantage: Vantage, domain: str, named: tuple[HostPort, ...]
) -> list[Vantage]:
    """A vantage for each server of the zone that the domain is in, or for each that is `named`.

    Raises TempFail where they cannot be found out.
    """
    if named:
        return [
            run.network.vantage(str(server), [(server.host, server.port)], zone=True)
            for server in named
        ]
    lookup = through(vantage)
    zone = await _zone(lookup, domain)
    found: list[Vantage] = []
    for name in sorted((await lookup(zone, "NS")).rows)[:SERVERS]:
        addresses = [
            *(await lookup(name, "A")).rows[:ADDRESSES],
            *(await lookup(name, "AAAA")).rows[:ADDRESSES],
        ][:ADDRESSES]
        servers = [(address, run.network.dns_port) for address in addresses]
        found.append(run.network.vantage(name, servers, zone=True))
    if not found:
        raise TempFail(zone, "NS", Reason.DNS_NO_DATA)
    return found


async def _zone(lookup: Lookup, domain: str) -> str:
    """The nearest name with a SOA record, the domain itself or above it."""
    name = domain
    for _ in range(DEPTH):
        if (await lookup(name, "SOA")).rows:
            return name
        _, dot, above = name.partition(".")
        if not dot:
            break
        name = above
    raise TempFail(domain, "SOA", Reason.DNS_NO_DATA)
