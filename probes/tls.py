"""TLS: does the handshake work, and how long is the certificate good."""

from __future__ import annotations

from probed import CertificateAge, HostPort, Probe, Run, Tls


class TlsProbe(Probe):
    """Shake hands over TLS and judge the certificate; one that fails verification is shown too."""

    kind = "tls"
    address: HostPort
    """Whom to connect to, as `host:port`."""
    tls: Tls = Tls()
    """How the certificate is verified."""
    certificate: CertificateAge = CertificateAge()
    """How long the certificate must still be good for."""

    async def probe(self, run: Run) -> None:
        async with run.connect(self.address, tls=self.tls):
            run.judge_certificate(self.certificate)
