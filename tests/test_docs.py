"""The fault matrix: it is whole, and what it names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from probed.testing.certificates import KINDS
from probed.testing.expected import WAYS
from probed.testing.nameserver import FAULTS
from probed.testing.servers import BEHAVIOURS

ROWS = {
    "A": [
        "refused", "RST mid-stream", "FIN early", "black-hole SYN", "host/net-unreachable",
        "admin-prohibited", "port-unreachable", "accept-then-silence", "SIGSTOP peer",
        "1 byte/s drip", "half-close", "bandwidth 1 kB/s", "20 % loss", "300±100 ms delay",
        "reorder", "PMTU black hole", "oversized banner", "oversized headers",
        "oversized body, 1 GB", "gzip bomb", "1xx flood", "broken HTTP", "TLS: expired",
        "TLS: not yet valid", "TLS: wrong host", "TLS: self-signed", "TLS: incomplete chain",
        "TLS: SHA-1", "TLS: old version only", "TLS: stall in the handshake",
        "TLS: plain text on a TLS port", "TLS on a plain port",
        "redirect loop, to metadata, https to http", "DNS: NXDOMAIN", "DNS: SERVFAIL",
        "DNS: REFUSED", "DNS: never answers", "DNS: truncation", "DNS: CNAME loop",
        "DNS: 1,000 answers", "DNS: AAAA broken", "DNS: wrong id", "DNS: wrong question",
        "DNS: compression-pointer loop", "DNS: TTL 0", "DNS: rebinding",
    ],
    "B": [
        "wall clock ±1 h", "freeze", "suspended VM", "monotonic offset", "disk full",
        "read-only state directory", "EMFILE", "ENFILE", "OOM kill", "CPU starvation",
        "resolver file replaced", "interface down/up",
    ],
    "C": [
        "kill -9, 100 times", "SIGTERM with 1,000 runs in flight", "double SIGTERM", "SIGHUP storm",
        "watchdog wedge", "collector away at the start", "collector away, then back",
        "100 reloads good and bad under load", "ConfigMap swap, 100 times", "secret rotation",
        "socket in use", "state file of another version", "state file corrupt",
    ],
    "D": ["554 banner", "421 banner", "incomplete banner", "SSH, HTTP, IMAP on the port", "mixed reply codes", "endless lines", "plain text after STARTTLS", "masked STARTTLS", "expired, wrong-name certificate", "client certificate demanded", "535", "greylisting", "postscreen", "endless includes, trees, circles", "answers of 63 KB, thousands of records", "includes that fail or are silent", "servers of a zone that disagree", "failed lookups of our own", "a queue that floods"],
    "E": ["answers of Stripe by class, status and code", "something else answers as Stripe", "HTML of 100 KB, a body of 10 MB, slow headers, bodies cut off", "JSON that is not Stripe's", "100 events", "a redirect, 404, 5xx, slowness at the webhook", "a webhook that takes anything", "the wrong secret here, there, at Stripe", "clocks that are apart", "the application's data cannot be read"],
    "F": [
        "golden output for each format", "JUnit parsed", "JSON and JSON lines against the schema",
        "Nagios perfdata", "promtool check metrics", "OTLP decoded", "NO_COLOR/TTY matrix",
        "hostile strings", "canary secrets", "TAP", "status page",
    ],
    "G": ["start, status line, stop under systemd", "reload applied and refused", "bad configuration under systemd", "a blocked loop under systemd", "exposure of the unit", "credentials", "image, unprivileged, read-only root", "programs left behind by a probe", "manifests, oldest and newest Kubernetes", "a Pod with a sidecar ends", "shards", "an Alertmanager of two is killed", "alerts, one by one", "a page that does not read, too many pages", "three locations: one cut off, one offline, one lost"],
    "I": [
        "SMTP before TLS", "SMTP, other offers", "SMTP, other prompts", "SMTP, other codes",
        "IMAP before TLS", "IMAP, other prompts", "certificates that are not good",
        "redirects to another origin", "mailboxes that lie about SEARCH, FETCH and UIDVALIDITY",
        "every command that a kind sends", "programs: timeout, cancel, end, shutdown",
    ],
    "K": [
        "idle connections, half a request", "heads and bodies, a byte now and then",
        "heads, lines, bodies, chunks and trailers without end", "pipelined requests without end",
        "answers that are not read", "malformed requests, upgrades", "event streams that are not read",
        "strangers in a rush, or with the last file descriptors",
        "control connections that send nothing, or a byte now and then",
        "state file: bytes flipped anywhere",
        "state file: deleted, replaced, truncated under the daemon",
        "state file: of a newer version", "state directory read by others",
        "the demo beside a daemon", "log messages of several lines, control characters",
        "half-written configuration", "a collector's answer is large, endless, malformed",
        "something else answers as the collector", "excerpts of an invalid configuration",
    ],
    "L": [
        "a denied address in any setting", "a record, a redirect", "a driver that dials", "SQL: a host, several, an address",
        "SRV and TXT records of a connection string", "modules that could dial",
    ],
    "H": [
        "HTTP/1.1: status line, headers, chunks, extensions, trailers, body, noise",
        "HTTP/2: frames of each type", "TLS: records before and in the handshake",
        "TLS: session tickets, tiny records, floods inside", "a first line that never ends",
        "DNS: junk, forgeries, thousands of records, circles", "SMTP", "SMTP: login", "IMAP", "RESP", "programs: bytes, lines, messages, complaints, long reasons",
        "several floods at once",
        "an operator's pattern, a peer's text", "the resolver's files: any bytes, links, wrong lines",
        "a machine that starves", "what hangs, and what answers", "who blocks the event loop",
        "the command's surroundings: full and closed streams, encodings, folders that are gone, few files, a bug",
        "MongoDB: lengths, floods, compression, a login", "MongoDB: whole replies", "MongoDB: values of each field",
    ],
}  # fmt: skip
CASES = {*BEHAVIOURS, *KINDS, *FAULTS, *WAYS, "nobody"}
"""What the tests of the contract suite are run with."""


def table(project: Path) -> dict[str, dict[str, str]]:
    """The last cell of each row, by section and row."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in (project / "docs/faults.md").read_text().splitlines():
        if heading := re.match(r"## ([A-Z])\.", line):
            section = heading[1]
            found[section] = {}
        elif line.startswith("| ") and not line.startswith("| Row "):
            row, *_, tests = [cell.strip() for cell in line.strip("|").split("|")]
            found[section][row] = tests
    return found


@pytest.mark.parametrize("section", ROWS)
def test_no_row_of_the_fault_matrix_is_missing(project: Path, section: str) -> None:
    assert list(table(project)[section]) == ROWS[section]


def test_every_row_has_a_test_or_says_why_not(project: Path) -> None:
    for rows in table(project).values():
        for row, tests in rows.items():
            assert "::" in tests or re.match("not |comes with ", tests), row


def test_every_test_of_the_fault_matrix_exists(project: Path) -> None:
    contract = functions([project / "probed/testing/contract.py"])
    for rows in table(project).values():
        for file, name, case in re.findall(r"`([\w.]+)::(\w+)(?:\[([^\]]+)\])?`", str(rows)):
            ours = file == "contract.py"
            known = contract if ours else functions((project / "tests").rglob(file))
            assert name in known, f"{file}::{name}"
            assert not case or case in CASES, f"{file}::{name}[{case}]"


def functions(files: Iterable[Path]) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    trees = [ast.parse(file.read_text()) for file in files]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_kind_inherits_the_contract(project: Path) -> None:
    texts = [path.read_text() for path in (project / "tests/probes").rglob("test_*.py")]
    contracts = [text for text in texts if "(ProbeContract)" in text]
    for kind in entry_points(group="probed.probes"):
        module, _, name = kind.value.partition(":")
        if module.startswith("probes."):  # not somebody else's
            assert any(name in text for text in contracts), kind.name
