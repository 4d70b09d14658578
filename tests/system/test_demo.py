"""`probed demo`: what a new user sees first."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.programs import STRICT, environment

SENTENCES = {
    "gateway": ["http.bad_gateway", "gateway.routing: The backends answer (billing, catalog)"],
    "upstream": ["gateway.upstream_down: Asked directly, an upstream fails: billing"],
    "tls": ["tls.expired: The certificate of 127.0.0.1:"],
    "slow": ["http.slow: The answer took 15"],
    "mongo": ["connect.refused: Connection refused: nothing is listening on 127.0.0.1:"],
    "connections": [
        "connect.closed: The server closed the connection before it answered: its limit"
    ],
    "slow-ops": ["mongo.slow_ops: shop has had "],
    "smtp": ["smtp.switch_to_backup"],
    "backup": ["smtp.backup_unready"],
    "spf": [
        "spf.lookup_limit: SPF takes 13 lookups, where receivers make 10: they may refuse all mail.",
    ],
    "dkim": [
        "dkim.key_mismatch: The DKIM key at mail._domainkey.demo.test is not the one expected"
    ],
    "dmarc": ["dmarc.multiple: Several DMARC records stand at _dmarc.demo.test: all of them"],
    "stripe": ["stripe.api_error: Asked without a key, Stripe answers 500"],
    "stripe-key": ["stripe.auth_rejected: Stripe rejected the API key."],
    "webhook": ["webhook.signature_not_enforced: A security hole: the endpoint accepted an event"],
    "webhook-secret": [
        "webhook.secret_mismatch: The endpoint refused an event that was signed with our secret"
    ],
    "undelivered": [
        "stripe.events_undelivered: ",
        "The application accepts our copy of the secret, Stripe's deliveries fail",
    ],
}


def test_it_shows_good_results_and_what_arrives_over_otlp(probed: Any) -> None:
    done = probed("demo", "--seconds", "6.5")
    assert done.returncode == 0, done.stderr
    for check in (
        "gateway",
        "billing",
        "catalog",
        "certificate",
        "https",
        "banner",
        "names",
        "mongo-primary",
        "stripe",
    ):
        assert re.search(rf"✔ ok +{check} ", done.stdout), check
    assert "failed" not in done.stdout
    assert re.search(r"metrics +http://127\.0\.0\.1:\d+/metrics", done.stdout)
    assert re.search(
        r"[1-9]\d* spans and [1-9]\d* metric points received; last probed\.check", done.stdout
    )


@pytest.mark.parametrize("broken", SENTENCES)
def test_each_break_yields_its_sentence(program: str, broken: str) -> None:
    missing = set(SENTENCES[broken])
    with subprocess.Popen(
        [program, "demo", "--break", broken], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment(**STRICT),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = ""
        while missing and (line := process.stdout.readline()):
            said += line
            missing = {sentence for sentence in missing if sentence not in said}
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert not missing, said
    assert process.returncode == 0, errors


def test_it_has_a_control_socket_of_its_own_and_says_how_to_speak_to_it(
    program: str, tmp_path: Path
) -> None:
    """Never the one where clients look for the daemon."""
    env = environment(**STRICT, XDG_RUNTIME_DIR=str(tmp_path), RUNTIME_DIRECTORY=str(tmp_path))
    with subprocess.Popen(
        [program, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            found = None
            while found is None:
                line = process.stdout.readline()
                assert line, "it ended"
                found = re.search(r"^status +PROBED_CONTROL=(\S+) probed status$", line)
            assert not list(tmp_path.rglob("*.sock"))
            assert Path(found[1]).exists()
            asked = [program, "status", "-o", "json"]
            done = subprocess.run(
                asked, capture_output=True, text=True, env={**env, "PROBED_CONTROL": found[1]},
                check=False, timeout=20,
            )  # fmt: skip
            assert json.loads(done.stdout)["checks"] > 5, done.stderr
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
    assert not Path(found[1]).exists()


def test_a_break_that_there_is_not_is_a_usage_error(probed: Any) -> None:
    done = probed("demo", "--break", "nothing")
    assert done.returncode == 3
    assert f"known: {', '.join(sorted(SENTENCES))}" in done.stderr


def test_on_a_terminal_it_is_a_table_and_ctrl_c_stops_all(
    program: str, read_to_end: Callable[[int], bytes]
) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [program, "demo"],
        stdin=child,
        stdout=child,
        stderr=child,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "140", "LINES": "50"},
    )
    os.close(child)
    shown = b""
    end = time.monotonic() + 15
    while not (b"names" in shown and shown.count(b"up ") > 9) and time.monotonic() < end:
        shown += os.read(parent, 65536)
    process.send_signal(signal.SIGINT)
    shown += read_to_end(parent)
    assert process.wait(timeout=10) == 0
    assert b"Traceback" not in shown
    assert b"what was found" in shown
    assert b"Ctrl-C stops everything" in shown
