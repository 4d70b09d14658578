"""TLS: does the handshake work, and how long is the certificate good."""

from __future__ import annotations

from probed import CertificateAge, Family, HostPort, Probe, Run, Tls


class TlsProbe(Probe):
    """Shake hands over TLS and judge the certificate; one that fails verification is shown too."""

    kind = "tls"
    address: HostPort
    """Whom to connect to, as `host:port`."""
    tls: Tls = Tls()
    """How the certificate is verified."""
    family: Family = "any"
    """Over which addresses: `any` that connects, `ipv4`, `ipv6`, or `both`, which must both work."""
    certificate: CertificateAge = CertificateAge()
    """How long the certificate must still be good for."""

    async def probe(self, run: Run) -> None:
        await run.by_family(self.family, self._ask)

    async def _ask(self, run: Run) -> None:
        async with run.connect(self.address, tls=self.tls):
            run.judge_certificate(self.certificate)
