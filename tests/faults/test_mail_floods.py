"""Mail servers, mailboxes, queues' servers and programs that send without end, of each message that their
protocol has: they hold neither the event loop nor a run, and fill no memory.
"""

from __future__ import annotations

import re
import resource
import sys
import time
from pathlib import Path

import pytest

from probed import HostPort, Outcome, Probe, Tls
from probed.engine.runner import execute
from probed.net import Network
from probed.testing import Authority, no_leaks
from probed.testing.flood import Flood
from probed.testing.watchdog import Watchdog
from probes.email_queue import EmailQueueProbe
from probes.email_roundtrip import EmailRoundtripProbe
from probes.smtp import SmtpProbe
from tests.faults.test_floods import GRACE, LONG, ROOM, STOP, TIMEOUT, withstand

pytestmark = pytest.mark.anyio

GREETING = b"220 mx ESMTP\r\n"
EHLO = b"250-mx\r\n250 AUTH LOGIN PLAIN CRAM-MD5 XOAUTH2\r\n"
SMTP = {
    "a greeting without end": Flood(LONG, greeting=b"220 "),
    "a greeting in pieces": Flood(b"2", greeting=b"220 ", piece=1),
    "lines of a greeting": Flood(b"220-a\r\n", greeting=b"220-a\r\n"),
    "short lines of a greeting": Flood(b"220-\n", greeting=b"220-\n"),
    "greetings": Flood(b"220 a\r\n", greeting=GREETING),
    "extensions": Flood(b"250-a\r\n", greeting=GREETING, replies=(b"250-mx\r\n",)),
    "extensions in pieces": Flood(b"250-a\r\n", greeting=GREETING, replies=(b"250-",), piece=1),
    "one extension": Flood(LONG, greeting=GREETING, replies=(b"250-mx\r\n250-SIZE ",)),
    "an address without its sign": Flood(b"a.", greeting=GREETING, replies=(b"550 ",)),
    "noise": Flood(bytes(range(256))),
}
LOGIN = {
    "prompts": Flood(b"334 VXNlcm5hbWU6\r\n", greeting=GREETING, replies=(EHLO,)),
    "prompts for the password": Flood(b"334 UGFzc3dvcmQ6\r\n", greeting=GREETING, replies=(EHLO,)),
    "empty prompts": Flood(b"334 \r\n", greeting=GREETING, replies=(EHLO,)),
    "a prompt without end": Flood(b"QUFB", greeting=GREETING, replies=(EHLO, b"334 ")),
    "lines of a prompt": Flood(b"334-VXNl\r\n", greeting=GREETING, replies=(EHLO,)),
}
READY, PROMPT = b"* OK ready\r\n", b"+ \r\n"
IMAP = {
    "a greeting without end": Flood(LONG, greeting=b"* OK "),
    "a greeting in pieces": Flood(b"a", greeting=b"* OK ", piece=1),
    "greetings": Flood(READY, greeting=READY),
    "prompts": Flood(PROMPT, greeting=READY),
    "untagged responses": Flood(b"* 1 EXISTS\r\n", greeting=READY, replies=(PROMPT,)),
    "the shortest responses": Flood(b"* \n", greeting=READY, replies=(PROMPT,)),
    "responses in pieces": Flood(b"* 1 EXISTS\r\n", greeting=READY, replies=(PROMPT,), piece=1),
    "one response": Flood(LONG, greeting=READY, replies=(PROMPT, b"* SEARCH ")),
    "identifiers": Flood(b"1 2 3 4 5 6 7 8 ", greeting=READY, replies=(PROMPT, b"* SEARCH ")),
    "a literal of 4 GB": Flood(LONG, greeting=READY, replies=(PROMPT, b"* X {4294967295}\r\n")),
    "a large literal": Flood(LONG, greeting=READY, replies=(PROMPT, b"* X {262144}\r\n")),
    "a literal in pieces": Flood(
        b"a", greeting=READY, replies=(PROMPT, b"* X {262144}\r\n"), piece=1
    ),
    "literals": Flood(b"a{1}\r\n", greeting=READY, replies=(PROMPT, b"* X {1}\r\n")),
    "empty literals": Flood(b"{0}\r\n", greeting=READY, replies=(PROMPT, b"* X ")),
    "parentheses": Flood(b"(", greeting=READY, replies=(PROMPT, b"* 1 FETCH ")),
    "noise": Flood(bytes(range(256))),
}
RESP = {
    "arrays in arrays": Flood(b"*1000\r\n"),
    "items of arrays in arrays": Flood(
        b":1\r\n", replies=(b"*1000\r\n*1000\r\n*1000\r\n*1000\r\n",)
    ),
    "empty arrays": Flood(b"*0\r\n", replies=(b"*1000\r\n*1000\r\n",)),
    "nothing in arrays": Flood(b"$-1\r\n", replies=(b"*1000\r\n*1000\r\n",)),
    "large items": Flood(b"$1048576\r\n" + b"a" * (1 << 20) + b"\r\n", replies=(b"*1000\r\n",)),
    "one item in pieces": Flood(b"a", replies=(b"$1048576\r\n",), piece=1),
    "an item of 1 TB": Flood(LONG, replies=(b"$1000000000000\r\n",)),
    "a status without end": Flood(LONG, replies=(b"+",)),
    "a status in pieces": Flood(b"a", replies=(b"+",), piece=1),
    "an error without end": Flood(LONG, replies=(b"-ERR ",)),
    "a number without end": Flood(b"1" * 8192, replies=(b":",)),
    "statuses": Flood(b"+OK\r\n"),
    "pushes": Flood(b">2\r\n+a\r\n+b\r\n"),
    "noise": Flood(bytes(range(256))),
}


@pytest.mark.timing
@pytest.mark.parametrize("name", SMTP)
async def test_smtp(name: str) -> None:
    def make(address: HostPort) -> Probe:
        relay = {"name": "mx", "host": address.host, "port": address.port, "tls": "none"}
        return SmtpProbe(relays=[relay], helo="probe.test")

    await withstand(SMTP[name], make)


@pytest.mark.timing
@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5", "xoauth2"])
@pytest.mark.parametrize("name", LOGIN)
async def test_smtp_login(name: str, mechanism: str, tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").files(tmp_path)
    flood = LOGIN[name]
    served = Flood(
        flood.unit, flood.greeting, flood.replies, certificate=str(certificate), key=str(key)
    )
    tls = Tls(ca=authority.pem_file(tmp_path))

    def make(address: HostPort) -> Probe:
        relay = {"name": "mx", "host": address.host, "port": address.port, "tls": "implicit"}
        auth = {"mechanism": mechanism, "username": "a", "secret": "b"}
        return SmtpProbe(relays=[relay], helo="probe.test", auth=auth, tls={"ca": tls.ca})

    await withstand(served, make)


@pytest.mark.timing
@pytest.mark.parametrize("name", IMAP)
async def test_imap(name: str) -> None:
    def make(address: HostPort) -> Probe:
        return EmailRoundtripProbe(
            relay={"name": "mx", "host": "127.0.0.1", "port": 9, "tls": "none"},
            imap={"host": address.host, "port": address.port, "tls": "none", "username": "a",
                  "secret": "b"},
            helo="probe.test", **{"from": "a@probed.test", "rcpt": "b@probed.test"},
        )  # fmt: skip

    await withstand(IMAP[name], make)


@pytest.mark.timing
@pytest.mark.parametrize("kind", ["list", "stream", "zset"])
@pytest.mark.parametrize("name", RESP)
async def test_redis(name: str, kind: str) -> None:
    def make(address: HostPort) -> Probe:
        redis = {"address": str(address), "keys": [{"key": "a", "type": kind, "time": "t"}]}
        return EmailQueueProbe(redis=redis)

    await withstand(RESP[name], make)


PROGRAMS = {
    "bytes": "sys.stdout.buffer.write(b'a' * 65536)",
    "empty lines": "sys.stdout.buffer.write(b'\\n' * 65536)",
    "messages": 'print(\'{"queue_name": "a", "arrival_time": 1}\\n\' * 1000)',
    "messages with long reasons": (
        'print(\'{"queue_name": "a", "arrival_time": 1, "recipients": ['
        "' + ', '.join(['{\"delay_reason\": \"' + 'x.1-' * 512 + '\"}'] * 400) + ']}')"
    ),
    "complaints": "sys.stderr.write('a' * 65536)",
}


ROWS = {"SMTP": SMTP, "SMTP: login": LOGIN, "IMAP": IMAP, "RESP": RESP, "programs": PROGRAMS}


@pytest.mark.parametrize("row", ROWS)
def test_the_fault_matrix_counts_them(row: str) -> None:
    page = (Path(__file__).parents[2] / "docs/faults.md").read_text()
    page = page.partition("## H. Reads")[2].partition("\n## ")[0]
    (found,) = re.findall(
        rf"^\| {re.escape(row)}(?::(?! login)[^|]*)? \|[^|]*\| (\d+) \|", page, re.MULTILINE
    )
    assert int(found) == len(ROWS[row])


@pytest.mark.timing
@pytest.mark.parametrize("source", ["postqueue", "command"])
@pytest.mark.parametrize("name", PROGRAMS)
async def test_programs(name: str, source: str) -> None:
    text = f"import sys\nwhile True: {PROGRAMS[name]}; sys.stdout.flush()"
    settings = {source: {"run": [sys.executable, "-I", "-S", "-c", text]}}
    probe = EmailQueueProbe(**settings)
    async with no_leaks(), Watchdog() as watchdog:
        await execute(probe, timeout=0.3, network=Network())
        watchdog.longest = 0.0
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.monotonic()
        result = await execute(probe, timeout=TIMEOUT, network=Network())
        took = time.monotonic() - begun
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert took < TIMEOUT + GRACE
    assert watchdog.longest < STOP, f"the loop stood for {watchdog.longest * 1000:.0f} ms"
    assert grown < ROOM
    assert result.outcome is not Outcome.OK
    assert "internal.error" not in {str(finding.reason) for finding in result.findings}


@pytest.mark.timing
async def test_a_document_of_many_reasons(tmp_path: Path) -> None:
    """As many as fit in what a command may say, each as dear as it can be."""
    for reasons in (
        ", ".join(f'"{n} a.b-c 1.2.3.4": 1' for n in range(40_000)),
        ", ".join('"' + "a.1-" * 512 + f'{n}": 1' for n in range(500)),
        ", ".join('"' + "a" * 2040 + f'{n}@": 1' for n in range(500)),
    ):
        file = tmp_path / "document"
        queue = '{"name": "a", "depth": 1, "delay_reasons": {' + reasons + "}}"
        file.write_text('{"queues": [' + queue + "]}")
        assert file.stat().st_size < 1 << 20
        probe = EmailQueueProbe(command={"run": ["cat", str(file)]})
        async with Watchdog() as watchdog:
            result = await execute(probe, timeout=10.0, network=Network())
        assert result.outcome is Outcome.OK, result.findings
        assert watchdog.longest < STOP, f"the loop stood for {watchdog.longest * 1000:.0f} ms"
