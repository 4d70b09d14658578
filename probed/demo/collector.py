"""An OTLP collector that counts what it receives."""

from __future__ import annotations

import zlib
from typing import Any

from anyio.abc import TaskGroup
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from probed.demo.peer import DemoPeer
from probed.testing.webserver import Answer, HttpServer, Received

BODY_LIMIT = 8 << 20


class Collector(DemoPeer):
    """Accepts `/v1/traces` and `/v1/metrics` as protobuf, plain or gzip (the OTLP specification)."""

    async def start(self, tasks: TaskGroup) -> None:  # noqa: ARG002  # the server has its own tasks
        self._spans = self._points = 0
        self._last = ""
        server = HttpServer({}, default=self._respond)
        await self.serve(server)
        self.setting.urls["otlp"] = server.url("")

    def _respond(self, request: Received) -> Answer:
        headers = {"Content-Type": "application/x-protobuf", "Connection": "close"}
        if "content-length" not in request.headers:
            return Answer(400, headers)
        gzip = request.headers.get("content-encoding") == "gzip"
        return Answer(self._count(request.path, request.body, gzip=gzip), headers)

    def _count(self, path: str, body: bytes, *, gzip: bool) -> int:
        """Count the items of a request and return the status of the response."""
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
