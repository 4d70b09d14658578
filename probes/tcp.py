"""TCP: does something listen, and does it say what it should."""

from __future__ import annotations

from probed import AddressChoice, HostPort, Measure, Pattern, Probe, Reason, Run, Tls, by_family


class TcpProbe(Probe):
    """Open a TCP connection, speak TLS if asked, and match the first line that the peer sends."""

    kind = "tcp"
    example = """\
checks:
  - name: mail-relay
    probe: tcp
    address: "smtp.example.com:25"
    expect: '^220 '
"""
    address: HostPort
    """Whom to connect to, as `host:port`."""
    expect: Pattern | None = None
    """Regular expression (RE2) that the first line must match; without it, connecting is enough."""
    tls: Tls | None = None
    """Speak TLS from the start, and judge the certificate so; `tls: {}` for the usual rules."""
    family: AddressChoice = "any"
    """Over which addresses: `any` that connects, `ipv4`, `ipv6`, or `both`, which must both work."""

    measures = (Measure("probed.tcp.banner.size", unit="By", help="Length of the first line."),)

    async def probe(self, run: Run) -> None:
        await by_family(run, self.family, self._read_banner)

    async def _read_banner(self, run: Run) -> None:
        async with run.connect(self.address, tls=self.tls) as stream:
            if self.expect is None:
                return
            with run.phase("banner"):
                line = await stream.readline()
        run.measure("probed.tcp.banner.size", len(line))
        run.expect(
            self.expect.search(line),
            Reason.BANNER_MISMATCH,
            f"The first line does not match {self.expect.text!r}.",
            evidence={"banner": line},
        )
