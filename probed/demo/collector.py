"""A collector that takes OTLP over HTTP and counts what arrives, so that it can be watched."""

from __future__ import annotations

import zlib
from typing import Any

from anyio.abc import ByteStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from probed.demo.peer import TcpPeer
from probed.demo.wire import HEAD_LIMIT, Response

BODY_LIMIT = 8 << 20


class Collector(TcpPeer):
    """Takes `/v1/traces` and `/v1/metrics` as protobuf, plain or gzip (the OTLP specification)."""

    async def start(self, tasks: TaskGroup) -> None:
        self._spans = self._points = 0
        self._last = ""
        await self.port.listen(tasks, self.handle)
        self.setting.urls["otlp"] = f"http://{self.port}"

    async def handle(self, stream: ByteStream) -> None:
        reader = BufferedByteReceiveStream(stream)
        head = (await reader.receive_until(b"\r\n\r\n", HEAD_LIMIT)).decode("latin-1")
        first, *lines = head.split("\r\n")
        fields = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        length = fields.get("content-length", "")
        status = 400
        if length.isdecimal() and int(length) <= BODY_LIMIT:
            body = await reader.receive_exactly(int(length)) if int(length) else b""
            path = first.partition(" ")[2].partition(" ")[0]
            status = self._take(path, body, gzip=fields.get("content-encoding") == "gzip")
        await stream.send(Response(status, b"", "application/x-protobuf").encode())

    def _take(self, path: str, body: bytes, *, gzip: bool) -> int:
        try:
            if gzip:
                body = zlib.decompressobj(31).decompress(body, BODY_LIMIT)
            if path == "/v1/traces":
                self._count_spans(body)
            elif path == "/v1/metrics":
                self._count_points(body)
            else:
                return 404
        except (DecodeError, zlib.error):
            return 400
        return 200

    def _count_spans(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self._spans += len(scope.spans)
                for span in scope.spans:
                    if not span.parent_span_id:
                        self._last = f"; last {span.name} {span.trace_id.hex()}"

    def _count_points(self, body: bytes) -> None:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    self._points += len(getattr(metric, kind).data_points) if kind else 0

    def config(self) -> dict[str, Any]:
        return {
            "telemetry": {
                "metrics_interval": "3s",
                "trace_ratio": 0.2,
                "otlp": {"endpoint": self.setting.urls["otlp"]},
            }
        }

    def status(self) -> str:
        return f"{self._spans} spans and {self._points} metric points received{self._last}"
