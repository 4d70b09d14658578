"""DNS: does a name resolve, and to what it should."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from probed import HostPort, Measure, Probe, Reason, Run


class DnsProbe(Probe):
    """Ask for the records of a name and compare them with those expected."""

    kind = "dns"
    example = """\
checks:
  - name: api-name
    probe: dns
    query: api.example.com
    type: A
    server: 192.0.2.53:53
    expect: [192.0.2.10, 192.0.2.11]
"""
    query: Annotated[str, Field(min_length=1, max_length=253)]
    """The name to ask for."""
    type: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TLSA", "TXT"] = "A"
    """The type of the records."""
    server: HostPort | None = None
    """The name server to ask, as `host:port`; without it, those of the system."""
    expect: tuple[str, ...] | None = None
    """The records that must be found, all of them and no others, in any order."""

    measures = (Measure("probed.dns.records", unit="{record}", help="Records in the answer."),)

    @property
    def target(self) -> str:
        at = f" @{self.server}" if self.server else ""
        return f"{self.query} {self.type}{at}"

    async def probe(self, run: Run) -> None:
        server = None
        if self.server is not None:
            run.fact("server.address", self.server.host)
            run.fact("server.port", self.server.port)
            with run.phase("resolve"):
                addresses = await run.network.addresses(self.server.host)
            server = (addresses[0], self.server.port)
        run.fact("dns.question.name", self.query)
        with run.phase("query"):
            records = await run.network.resolver.query(self.query, self.type, server)
        run.measure("probed.dns.records", len(records))
        if self.expect is not None:
            found = {_plain(record, self.type) for record in records}
            run.expect(
                found == {_plain(record, self.type) for record in self.expect},
                Reason.DNS_MISMATCH,
                evidence={"found": sorted(found), "expected": sorted(self.expect)},
            )


def _plain(record: str, kind: str) -> str:
    """A record for comparing: text without its quotes, names in lower case without the last dot."""
    if kind == "TXT":
        return "".join(record.split('"')[1::2]) if record.startswith('"') else record
    return record.rstrip(".").lower()
