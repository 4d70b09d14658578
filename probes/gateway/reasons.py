"""Reasons of the gateway kind."""

from __future__ import annotations

from probed import Reasons


class GatewayReason(Reasons):
    """Reasons from the response, its health document and the upstreams."""

    DOWN = "health.down", "The service reports that it is down."
    DEGRADED = "health.degraded", "The service reports that it is degraded."
    UNKNOWN = "health.unknown", "The service reports an unknown state."
    MISSING = (
        "health.component_missing",
        "The health document does not contain a required component.",
    )
    ROUTING = (
        "gateway.routing",
        "The upstreams answer directly, but the gateway does not reach them.",
    )
    UPSTREAM_DOWN = "gateway.upstream_down", "An upstream fails when probed directly."
    CIRCUIT_OPEN = "gateway.circuit_open", "A circuit breaker is open: calls are refused."
    HALF_OPEN = (
        "gateway.circuit_half_open",
        "A circuit breaker is half-open: it lets test calls through.",
    )
    POOL_EXHAUSTED = "gateway.pool_exhausted", "A connection pool is exhausted or nearly so."
    HEADER_MISMATCH = "http.header_mismatch", "A response header does not have the expected value."
    BODY_MISMATCH = "http.body_mismatch", "The response body does not match the expected pattern."
    ASSERTION = "http.assertion", "A value in the response body is not the expected one."
    LATENCY_TREND = "http.latency_trend", "Responses take much longer than usual."
