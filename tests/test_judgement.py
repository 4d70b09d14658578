"""What ends a run, or a part of one, is said in plain words that name the peer."""

from __future__ import annotations

import errno
import ssl

import anyio
import pytest

from probed.clock import SystemClock
from probed.judgement import Fault, TimedOut, run_judged, within
from probed.model import Outcome
from probed.reasons import ProbeError, Reason
from probed.record import Certificate, Recorder
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio
CERTIFICATE = Certificate("db", "ca", ("other.test",), 0.0, 86400.0, "1", verified=False)


def recorder(**facts: str | int) -> Recorder:
    made = Recorder(SystemClock(), Redactor(["hunter2canary"]))
    for name, value in facts.items():
        made.fact(name.replace("__", "."), value)
    return made


async def fault_of(error: Exception, noted: Recorder, phase: str = "connect") -> Fault:
    async def work() -> None:
        with noted.phase(phase):
            raise error

    fault = await run_judged(noted, work, 5.0)
    assert isinstance(fault, Fault)
    return fault


def verify_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "text")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ConnectionRefusedError(errno.ECONNREFUSED, ""),
            "Connection refused: nothing is listening on db.test:27017 (10.0.0.5).",
        ),
        (OSError(errno.EHOSTUNREACH, ""), "There is no route to db.test:27017 (10.0.0.5)."),
        (EOFError(), "db.test:27017 (10.0.0.5) closed the connection too early."),
        (
            verify_error(10),
            "The certificate of db.test:27017 (10.0.0.5) expired on 1970-01-02T00:00:00Z.",
        ),
        (
            verify_error(62),
            "The certificate of db.test:27017 (10.0.0.5) is for another name: other.test.",
        ),
        (ProbeError(Reason.CONNECT_CLOSED, "Its own message."), "Its own message."),
    ],
)
async def test_the_message_names_the_peer_in_one_place(error: Exception, message: str) -> None:
    noted = recorder(
        server__address="db.test", server__port=27017, network__peer__address="10.0.0.5"
    )
    noted.certificate = CERTIFICATE
    assert (await fault_of(error, noted)).message == message


@pytest.mark.parametrize(
    ("facts", "peer"),
    [
        ({"server__address": "10.0.0.5", "server__port": 25}, "10.0.0.5:25"),
        (
            {
                "server__address": "2001:db8::1",
                "server__port": 25,
                "network__peer__address": "2001:db8::1",
            },
            "[2001:db8::1]:25",
        ),
        (
            {
                "server__address": "a.test",
                "server__port": 80,
                "network__transport": "unix",
                "network__peer__address": "/run/a.sock",
            },
            "/run/a.sock",
        ),
    ],
)
async def test_a_peer_is_written_as_people_write_it(facts: dict[str, str | int], peer: str) -> None:
    fault = await fault_of(ConnectionResetError(errno.ECONNRESET, ""), recorder(**facts))
    assert fault.message == f"{peer} reset the connection."


async def test_without_an_address_the_reason_speaks_for_itself() -> None:
    fault = await fault_of(ConnectionResetError(errno.ECONNRESET, ""), recorder())
    assert fault.message == Reason.CONNECT_RESET.sentence


async def test_a_name_that_does_not_exist_is_named() -> None:
    noted = recorder(server__address="nowhere.test", server__port=25)
    fault = await fault_of(ProbeError(Reason.DNS_NXDOMAIN), noted, phase="resolve")
    assert fault.message == "The name nowhere.test does not exist."


async def test_evidence_that_a_part_noted_is_clean_and_yields_to_facts() -> None:
    noted = recorder(server__address="db.test")
    noted.evidence = {"said": "hunter2canary\x1b", "server.address": "lie", "status": 500}
    fault = await fault_of(EOFError(), noted)
    assert fault.evidence == {
        "said": "[redacted]\\x1b",
        "server.address": "db.test",
        "status": 500,
        "phase": "connect",
    }


async def test_an_internal_error_of_a_part_is_raised_and_of_the_whole_run_judged() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_judged(recorder(), work, 5.0)
    fault = await run_judged(recorder(), work, 5.0, whole=True)
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.level) == (Reason.INTERNAL, Outcome.UNKNOWN)


async def test_a_block_that_takes_too_long_ends_with_the_phase_that_was_open() -> None:
    noted = recorder()
    with pytest.raises(TimedOut) as raised, within(noted, 0.01), noted.phase("tls"):
        await anyio.sleep_forever()
    assert (raised.value.reason, raised.value.phase) == (Reason.TIMEOUT_TLS, "tls")
    assert raised.value.message.endswith("(0.01 s).")


async def test_a_block_that_takes_too_long_ends_with_what_went_wrong_before() -> None:
    noted = recorder()
    noted.fault = ProbeError(Reason.TLS_EXPIRED)
    with pytest.raises(ProbeError) as raised, within(noted, 0.01):
        await anyio.sleep_forever()
    assert raised.value.reason is Reason.TLS_EXPIRED
