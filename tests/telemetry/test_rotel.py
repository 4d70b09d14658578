"""An independent collector, rotel, accepts the export and forwards it to the sink."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from probed.clock import SystemClock
from probed.config.telemetry import Otlp, Telemetry
from probed.model import Outcome, Result
from probed.net import Network
from probed.telemetry.board import Board
from probed.telemetry.export import Exporter, make_client
from probed.telemetry.settings import export_settings
from probed.text.redact import Redactor

rotel = pytest.importorskip("rotel", reason="rotel has wheels for x86_64 only")
pytestmark = pytest.mark.anyio


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for sock in held:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()


@pytest.fixture
async def collector(sink: Any, tmp_path: Path) -> AsyncIterator[str]:
    grpc, http = free_ports(2)
    program = Path(rotel.__file__).with_name("rotel-agent")
    arguments = [
        str(program), "start",
        "--pid-file", str(tmp_path / "pid"), "--log-file", str(tmp_path / "log"),
        "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}",
        "--exporter", "otlp", "--otlp-exporter-endpoint", sink.url,
        "--otlp-exporter-protocol", "http", "--disable-batching",
    ]  # fmt: skip
    async with await anyio.open_process(
        arguments, env={}, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            with anyio.fail_after(10):
                while not await _listens(http):
                    if process.returncode == 127:
                        pytest.skip("rotel's program cannot be loaded by this Python's libraries")
                    assert process.returncode is None
                    await anyio.sleep(0.01)
            yield f"http://127.0.0.1:{http}"
        finally:
            process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()


async def _listens(port: int) -> bool:
    try:
        stream = await anyio.connect_tcp("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


async def test_metrics_traces_and_exemplars_survive_a_real_collector(
    board: Board, collector: str, sink: Any, result: Callable[..., Result], samples: Any
) -> None:
    settings = export_settings(Telemetry(otlp=Otlp(endpoint=collector)), {})
    exporter = Exporter(
        settings, board, SystemClock(),
        lambda signal: make_client(signal, Network(), SystemClock(), Redactor()),
    )  # fmt: skip
    failed = result(Outcome.FAILED, trace_id="1234" * 8)
    board.record(failed)
    exporter.enqueue(failed)
    await exporter.drain(10.0)
    spans = await sink.until(sink.spans)
    metrics = await sink.until(lambda: "probed.check.duration" in sink.metrics() and sink.metrics())

    assert [span.name for span in spans] == ["probed.check mx", "resolve", "connect"]
    assert {span.trace_id.hex() for span in spans} == {"1234" * 8}
    assert spans[1].parent_span_id == spans[0].span_id
    (point,) = metrics["probed.check.duration"].histogram.data_points
    assert (point.count, point.sum) == (1, 0.02)
    assert [e.trace_id.hex() for e in point.exemplars] == ["1234" * 8]
    runs = {
        tuple(sorted((a.key, a.value.string_value) for a in p.attributes)): p.as_int
        for p in metrics["probed.check.runs"].sum.data_points
    }
    assert runs[
        ("error.type", "connect.refused"), ("probed.check", "mx"), ("probed.outcome", "failed"),
        ("probed.probe", "mail"),
    ] == 1  # fmt: skip
    assert metrics["probed.check.duration"].unit == "s"
    seen = samples()
    assert seen("probed_export_items_total", otel_signal="traces", outcome="sent") == 3
