from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from probed.clock import SystemClock
from probed.config import Check, Config, Section
from probed.config.service import Service
from probed.config.telemetry import Otlp, Telemetry
from probed.model import Outcome, Result
from probed.net import Network
from probed.telemetry import Pipeline
from probed.telemetry.openmetrics import OPENMETRICS, TEXT
from probed.text.redact import Redactor

pytestmark = pytest.mark.anyio
MakeCheck = Callable[..., Check]


def pipeline(
    *checks: Check, environ: dict[str, str] | None = None, sections: tuple[Section, ...] = ()
) -> Pipeline:
    config = Config(checks=checks, redactor=Redactor(), sections=sections)
    made = Pipeline(config, SystemClock(), Network(), version="1.2", environ=environ or {})
    for check in checks:
        if check.enabled:
            made.board.add(check)
    return made


async def test_a_scrape_is_answered_in_the_format_asked_for(check: MakeCheck) -> None:
    made = pipeline(check(), check("off", enabled=False), sections=(Service(name="mine"),))
    kind, chunks = made.scrape("application/openmetrics-text")
    text = b"".join(chunks).decode()
    assert kind == OPENMETRICS
    assert 'service_name="mine"' in text
    assert 'probed_check="mx"' in text
    assert 'probed_check="off"' not in text
    kind, chunks = made.scrape(None)
    assert kind == TEXT


async def test_without_an_endpoint_it_runs_until_it_is_stopped(
    check: MakeCheck, result: Callable[..., Result]
) -> None:
    made = pipeline(check())
    assert made.destinations == ()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            await tasks.start(made.run)
            made.record(result())
            await made.drain()
            made.stop()


async def test_results_go_to_the_board_and_to_the_collector(
    check: MakeCheck, result: Callable[..., Result], sink: Any
) -> None:
    made = pipeline(check(), sections=(Telemetry(otlp=Otlp(endpoint=sink.url)),))
    assert made.destinations == (f"{sink.url}/v1/traces", f"{sink.url}/v1/metrics")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await tasks.start(made.run)
            made.record(result(Outcome.FAILED))
            await made.drain()
            made.stop()
    assert len(sink.spans()) == 3
    assert sink.metrics()["probed.check.runs"]


async def test_all_runs_are_kept_but_a_part_of_the_healthy_ones() -> None:
    made = pipeline(sections=(Telemetry(trace_ratio=0.5),))
    assert made.sampled("f" * 32, healthy=False)
    assert not made.sampled("f" * 32, healthy=True)
    assert made.sampled("0" * 32, healthy=True)


async def test_a_wrong_variable_is_an_error_at_the_start() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_PROTOCOL: "):
        pipeline(environ=environ)


async def test_opentelemetry_is_not_imported_unless_something_is_exported(project: Path) -> None:
    code = (
        "import sys, probed.telemetry, probed.telemetry.board, probed.telemetry.openmetrics\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'google', 'httpx'))])\n"
    )
    done = await anyio.run_process(
        [sys.executable, "-c", code], cwd=project, stderr=subprocess.PIPE
    )
    assert done.stdout.decode().strip() == "[]"


def test_the_instance_is_kept_where_the_service_manager_says(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": f"{tmp_path}:/nonexistent"}
    ids = {pipeline(environ=environ).board.resource["service.instance.id"] for _ in range(2)}
    assert len(ids) == 1
    assert list(tmp_path.iterdir())
