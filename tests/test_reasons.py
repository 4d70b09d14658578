"""Foreign errors become reasons by type and code, and the table leaves none out."""

from __future__ import annotations

import errno
import ssl

import pytest

from probed import ProbeError, Reason, Reasons
from probed.judgement import TIMEOUTS, timeout_in
from probed.model import Outcome
from probed.reasons import classify


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] text that may not count")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), Reason.CONNECT_REFUSED),
        (ConnectionResetError(errno.ECONNRESET, ""), Reason.CONNECT_RESET),
        (BrokenPipeError(errno.EPIPE, ""), Reason.CONNECT_RESET),
        (OSError(errno.EHOSTUNREACH, ""), Reason.CONNECT_UNREACHABLE),
        (OSError(errno.ENETUNREACH, ""), Reason.CONNECT_UNREACHABLE),
        (OSError(errno.ETIMEDOUT, ""), Reason.CONNECT_TIMEOUT),
        (PermissionError(errno.EACCES, ""), Reason.CONNECT_PROHIBITED),
        (EOFError(), Reason.CONNECT_CLOSED),
        (ssl.SSLEOFError(8, ""), Reason.CONNECT_CLOSED),
        (certificate_error(10), Reason.TLS_EXPIRED),
        (certificate_error(9), Reason.TLS_NOT_YET_VALID),
        (certificate_error(18), Reason.TLS_SELF_SIGNED),
        (certificate_error(20), Reason.TLS_UNTRUSTED),
        (certificate_error(62), Reason.TLS_WRONG_NAME),
        (certificate_error(64), Reason.TLS_WRONG_NAME),
        (certificate_error(9999), Reason.TLS_CERTIFICATE),
        (ssl_error("WRONG_VERSION_NUMBER"), Reason.TLS_NOT_TLS),
        (ssl_error("NO_SHARED_CIPHER"), Reason.TLS_VERSION),
        (ssl_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), Reason.TLS_CLIENT_CERTIFICATE),
        (ssl_error("WHAT_EVER_COMES_NEXT"), Reason.TLS_HANDSHAKE),
    ],
)
def test_an_error_has_its_reason_and_counts_as_failed(error: Exception, reason: Reason) -> None:
    assert classify(error) == (reason, Outcome.FAILED)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EADDRNOTAVAIL])
def test_what_this_machine_lacks_is_unknown_and_never_blames_the_target(code: int) -> None:
    assert classify(OSError(code, "")) == (Reason.SELF_RESOURCES, Outcome.UNKNOWN)


def test_the_cause_counts_where_the_error_itself_is_not_known() -> None:
    outer = RuntimeError("wrapped")
    outer.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "")
    assert classify(outer)[0] is Reason.CONNECT_REFUSED


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    assert classify(first) == (Reason.INTERNAL, Outcome.UNKNOWN)


def test_of_a_group_the_worst_counts() -> None:
    ours = OSError(errno.EMFILE, "")
    theirs = OSError(errno.ECONNREFUSED, "")
    assert classify(ExceptionGroup("", [ours, theirs])) == (Reason.CONNECT_REFUSED, Outcome.FAILED)


def test_what_nobody_knows_is_internal_and_unknown() -> None:
    assert classify(ZeroDivisionError()) == (Reason.INTERNAL, Outcome.UNKNOWN)


def test_an_error_without_a_number_is_not_taken_for_another() -> None:
    assert classify(OSError("no number")) == (Reason.INTERNAL, Outcome.UNKNOWN)


def test_a_probe_error_carries_its_own() -> None:
    error = ProbeError(Reason.DNS_REFUSED, "text", level=Outcome.UNKNOWN)
    assert classify(error) == (Reason.DNS_REFUSED, Outcome.UNKNOWN)


def test_every_reason_is_area_dot_cause_and_has_a_sentence() -> None:
    for reason in Reason:
        assert reason.sentence.endswith("."), reason
        assert reason == reason.value


@pytest.mark.parametrize("wrong", ["noarea", "Upper.case", "a.b.c", "a b.c", ""])
def test_a_reason_of_another_form_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"area\.cause"):
        Reasons("Bad", {"X": (wrong, "A sentence.")})


@pytest.mark.parametrize(("phase", "reason"), TIMEOUTS.items())
def test_the_phase_left_open_names_the_time_out(phase: str, reason: Reason) -> None:
    assert timeout_in(phase) is timeout_in(f"upstream/billing/{phase}") is reason


def test_a_time_out_outside_of_known_phases_is_that_of_the_run() -> None:
    assert timeout_in(None) is timeout_in("something") is Reason.TIMEOUT_RUN
