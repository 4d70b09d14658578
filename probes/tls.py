"""TLS: does the handshake work, and how long is the certificate good."""

from __future__ import annotations

import anyio

from probed import (
    AddressChoice,
    CertificateAge,
    HostPort,
    Probe,
    Run,
    Tls,
    by_family,
    judge_certificate,
)  # fmt: skip

PATIENCE = 1.0
"""Seconds that a peer may take to say what it thinks of our certificate."""


class TlsProbe(Probe):
    """Shake hands over TLS and judge the certificate; one that fails verification is shown too."""

    kind = "tls"
    example = """\
checks:
  - name: certificate
    probe: tls
    address: "api.example.com:443"
    certificate: {degraded: 21d, failed: 3d}
    interval: 1h
"""
    address: HostPort
    """Whom to connect to, as `host:port`."""
    tls: Tls = Tls.model_construct()
    """How the certificate is verified."""
    family: AddressChoice = "any"
    """Over which addresses: `any` that connects, `ipv4`, `ipv6`, or `both`, which must both work."""
    certificate: CertificateAge = CertificateAge.model_construct()
    """How long the certificate must still be good for."""

    async def probe(self, run: Run) -> None:
        await by_family(run, self.family, self._shake_hands)

    async def _shake_hands(self, run: Run) -> None:
        async with run.connect(self.address, tls=self.tls) as stream:
            judge_certificate(run, self.certificate)
            if self.tls.certificate is not None:
                with run.phase("wait"), anyio.move_on_after(PATIENCE):
                    await stream.part()
