"""Judgements of a run that several kinds share: its certificate and its latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probed.fields import CertificateAge, Latency, format_duration
from probed.judgement import explain
from probed.model import Outcome
from probed.reasons import Reason
from probed.record import describe

if TYPE_CHECKING:
    from probed.probe.run import Run


def judge_certificate(run: Run, ages: CertificateAge) -> None:
    """Find `tls.expires_soon` where the certificate seen has less time left than `ages` says."""
    certificate = run.certificate
    if certificate is None:
        return
    left = certificate.not_after - run.clock.time()
    if left <= 0 and ages.failed is not None:
        # It was not verified, or the run would not have come here.
        message = explain(run, Reason.TLS_EXPIRED)
        run.find(Outcome.FAILED, Reason.TLS_EXPIRED, message, evidence=describe(certificate))
        return
    crossed = ages.crossed(left)
    if crossed is not None:
        level, bound = crossed
        run.find(
            level,
            Reason.TLS_EXPIRES_SOON,
            f"The certificate expires in {format_duration(max(0, left // 3600 * 3600))}, "
            f"less than {format_duration(bound)}.",
            evidence=describe(certificate),
        )


def judge_latency(run: Run, seconds: float, bounds: Latency) -> None:
    """Find `http.slow` or `http.too_slow` where an answer took longer to begin than `bounds` says."""
    crossed = bounds.crossed(seconds)
    if crossed is not None:
        level, bound = crossed
        run.find(
            level,
            Reason.HTTP_TOO_SLOW if level is Outcome.FAILED else Reason.HTTP_SLOW,
            f"The answer took {seconds * 1000:.0f} ms to begin, "
            f"more than {format_duration(bound)}.",
        )
