"""Whether SPF authorises the addresses that a backup relay sends from: mail that it hands on would
otherwise be refused elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module

import anyio
from anyio import to_thread

from probed import HostPort, Run
from probed.mail import SpfResult, check_host, through

PATIENCE = 5.0
"""Seconds that finding out may take."""
REFUSED = {SpfResult.FAIL, SpfResult.SOFTFAIL, SpfResult.PERMERROR}


@dataclass(frozen=True, slots=True)
class SpfOutcome:
    """The SPF result of each address. What we could not look up is `temperror`, and refuses nothing."""

    domain: str = ""
    results: Mapping[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> list[str]:
        """The addresses whose mail would be refused, or looked at askance."""
        return [address for address, result in self.results.items() if result in REFUSED]

    @property
    def shown(self) -> str:
        return ", ".join(f"{address} {result}" for address, result in self.results.items())


async def ask_spf(
    run: Run, domain: str, addresses: Sequence[str], helo: str, server: HostPort | None
) -> SpfOutcome:
    """Phase `spf`. Never raises but for cancellation."""
    results = dict.fromkeys(addresses, str(SpfResult.TEMPERROR))
    with run.phase("spf"), anyio.move_on_after(min(PATIENCE, run.remaining(0.1))):
        # dnspython takes 70 ms, which are not the event loop's.
        await to_thread.run_sync(import_module, "probed.net.vantage")
        servers = (
            run.network.resolver.name_servers() if server is None else [(server.host, server.port)]
        )
        lookup = through(run.network.vantage("", servers))
        for address in addresses:
            report = await check_host(
                lookup, address, f"postmaster@{domain}", helo, domain=domain, now=run.clock.time()
            )
            results[address] = str(report.result)
    return SpfOutcome(domain, results)
