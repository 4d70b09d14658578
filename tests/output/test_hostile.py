"""What peers say, through the real kinds, into every format, the API, the metrics and the spans."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from xml.etree import ElementTree as ET

import anyio
import anyio.to_thread
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from probed.app import App
from probed.config import Config, loads
from probed.engine.runner import Runner
from probed.events import Event, Recorded
from probed.model import Outcome, Result
from probed.output import FORMATS, Report, Style, render
from probed.output.github import render_markdown
from probed.registry import Registry
from probed.testing import Answer, Authority, Peer, dns_server, http_server, serve

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clean_environment")]

TRICKS = "::error file=a,line=1::pwned %0A | 'x'=1;; ]]><script>alert(1)</script> &amp; `x` [a](b)"
UNSAFE = "\x1b[2J\x1b]0;t\x07\x9b2J\u202eevil\u2066\u200b\ufeff\ufffe\x0b\x0c\x00\x7f\u2028"
HOSTILE = f"{TRICKS} {UNSAFE}"
_FOREIGN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

HEALTH = {
    "status": "DOWN",
    "components": {
        "a\n::error::pwned": {"status": f"DOWN\n{HOSTILE}", "details": {"error": HOSTILE}},
        HOSTILE: {"status": "DOWN"},
    },
}


async def greet(peer: Peer) -> None:
    await peer.send(f"500 {HOSTILE}\r\n".encode())
    await peer.until_gone()


@asynccontextmanager
async def peers() -> AsyncIterator[str]:
    """The checks of a configuration: a hostile peer for each kind, and each of them fails."""
    wild = {name: HOSTILE.replace("\x00", "").encode().decode("latin-1") for name in ("Server",)}
    body = json.dumps(HEALTH)
    answers = {
        "/health": Answer(503, {"Content-Type": "application/health+json"}, body),
        "/header": Answer(500, {name: re.sub(r"[\x00-\x1f]", "", v) for name, v in wild.items()}),
        "/body": Answer(500, {"Content-Type": "application/json"}, HOSTILE),
    }
    escaped = "".join(f"\\{byte:03d}" for byte in HOSTILE.encode()[:200])
    zone = {("a.test", "TXT"): [f'"{escaped}"']}
    names = ("evil.example", "xn--::error::pwned.example")
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(serve(greet))
        web = await stack.enter_async_context(http_server(answers))
        issued = await anyio.to_thread.run_sync(lambda: Authority.self_signed(names[0], "evil"))
        tls = await stack.enter_async_context(serve("silent", tls=issued.context))
        dns = await stack.enter_async_context(dns_server(zone))
        listed = [
            f"name: line, probe: tcp, address: '{line.address}', expect: '^220 '",
            *(
                f"name: {path[1:]}, probe: gateway, url: '{web.url(path)}'"
                for path in ("/health", "/header", "/body")
            ),
            f"name: tls, probe: tls, address: '{tls.address}'",
            f"name: dns, probe: dns, query: a.test, type: TXT, server: '{dns.address}', expect: [a]",
        ]
        yield "".join(f"  - {{{check}}}\n" for check in listed)


async def config(checks: str) -> Config:
    text = (
        "service: {listen: 127.0.0.1:0}\ntelemetry: {listen: 127.0.0.1:0}\n"
        "defaults: {interval: 500ms, timeout: 400ms, confirm: 0, fail_after: 1}\n"
        f"checks:\n{checks}"
    )
    return await anyio.to_thread.run_sync(partial(loads, text, Registry(), environ={}))


@pytest.fixture
async def report() -> Report:
    async with peers() as checks:
        found = await config(checks)
        runner = Runner.of(found)
        results = [await runner.run(check) for check in found.checks]
    assert {result.outcome for result in results} == {Outcome.FAILED}
    said = str([result.findings for result in results])
    assert said.count("pwned") >= 4, "the peers were not even heard"
    places = {check.name: ("probed.yaml", n + 1) for n, check in enumerate(found.checks)}
    return Report(results, 1_767_225_600.0, 1.5, places)


def documents(report: Report, name: str) -> str:
    text = render(name, report, Style(verbose=True))
    assert not _FOREIGN.search(text), _FOREIGN.findall(text)
    return text


@pytest.mark.parametrize("name", FORMATS)
async def test_no_format_shows_what_a_terminal_or_a_reader_would_fall_for(
    report: Report, name: str
) -> None:
    assert documents(report, name)


async def test_text_has_the_lines_that_we_wrote(report: Report) -> None:
    for line in documents(report, "text").splitlines():
        assert re.match(r"✖ |    \S|        |\d+ checks", line), line


async def test_json_and_its_lines_are_json(report: Report) -> None:
    whole = json.loads(documents(report, "json"))
    assert [result["check"] for result in whole["results"]] == [r.check for r in report.results]
    lines = documents(report, "jsonl").splitlines()
    assert [json.loads(line)["check"] for line in lines] == [r.check for r in report.results]


async def test_junit_is_xml_with_a_failure_for_each(report: Report) -> None:
    suite = ET.fromstring(documents(report, "junit").encode())[0]
    assert suite.get("failures") == str(len(report.results))
    assert [case.get("name") for case in suite] == [result.check for result in report.results]
    tags = {"testsuites", "testsuite", "testcase", "properties", "property", "failure"}
    assert {element.tag for element in suite.iter()} <= tags


async def test_nagios_is_a_line_of_text_and_data_and_a_line_for_each(report: Report) -> None:
    head, *rest = documents(report, "nagios").splitlines()
    assert len(rest) == len(report.results)
    assert not any("|" in line for line in rest)
    text, bar, data = head.partition(" | ")
    assert (bar, "|" in text) == (" | ", False)
    each = r"'([^'=|]+)'=[0-9]+(\.[0-9]+)?s;[^;|]*;[^;|]*;[0-9]*(;[0-9]*)?"
    assert re.fullmatch(rf"{each}( {each})*", data), data


async def test_github_gets_our_commands_and_no_others(report: Report) -> None:
    lines = documents(report, "github").splitlines()
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert len(commands) == len(report.results)
    for command in commands:
        assert re.match(r"::error file=probed\.yaml,line=\d+,title=\w+ failed::", command)
    table = render_markdown(report)
    assert not _FOREIGN.search(table)
    rows = table.split("|---|---|---|---|\n")[1].splitlines()
    assert len(rows) == len(report.results)
    for row in rows:
        assert row.count("|") == 5
        assert not re.search(r"[<>`\[]", row)


@pytest.mark.parametrize("path", ["checks", "checks/line", "checks/health", "status"])
async def test_the_api_answers_with_json_that_is_safe(path: str) -> None:
    text, _ = await asked(f"api/v1/{path}")
    assert not _FOREIGN.search(text), _FOREIGN.findall(text)
    assert json.loads(text)


async def test_metrics_can_be_read_and_are_ours() -> None:
    """What a peer names its parts stands in labels, made safe; messages stand nowhere."""
    text, results = await asked("metrics")
    assert not _FOREIGN.search(text), _FOREIGN.findall(text)
    assert "500 ::error" not in text
    checks = {result.check for result in results}
    assert checks == {"line", "health", "header", "body", "tls", "dns"}
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    assert {s.labels["probed_check"] for s in samples if "probed_check" in s.labels} == checks
    assert all(re.fullmatch("[a-z_]+", s.name) for s in samples)


async def asked(path: str) -> tuple[str, list[Result]]:
    """What the daemon says there when each check has run once."""
    results: dict[str, Result] = {}
    all_there = anyio.Event()

    def collect(event: Event) -> None:
        if isinstance(event, Recorded):
            results[event.check.name] = event.result
        if len(results) == 6:
            all_there.set()

    async with peers() as checks:
        found = await config(checks)
        app = await anyio.to_thread.run_sync(
            partial(App, found, subscribers=[collect], environ={"PROBED_CONTROL": ""})
        )
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                await tasks.start(app.run)
                await all_there.wait()
                base = app.status.api_url if path.startswith("api") else app.status.metrics_url
                async with httpx2.AsyncClient(trust_env=False) as client:
                    answer = await client.get(f"{base}/{path}")
                app.stop()
    assert answer.status_code == 200
    return answer.text, list(results.values())
