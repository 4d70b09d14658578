"""Why a gateway is not well: the reasons of this kind."""

from __future__ import annotations

from probed import Reasons


class GatewayReason(Reasons):
    """What the answer and its health document say, and what asking the upstreams has shown."""

    DOWN = "health.down", "The service says of itself that it is down."
    DEGRADED = "health.degraded", "The service says of itself that it is degraded."
    UNKNOWN = "health.unknown", "The service cannot say how it is."
    MISSING = "health.component_missing", "The health document lacks a component that is required."
    ROUTING = "gateway.routing", "The backends answer, but the gateway does not reach them."
    UPSTREAM_DOWN = "gateway.upstream_down", "An upstream fails when it is asked directly."
    CIRCUIT_OPEN = "gateway.circuit_open", "A circuit breaker is open: calls are refused."
    HALF_OPEN = "gateway.circuit_half_open", "A circuit breaker is half-open: it tries again."
    POOL_EXHAUSTED = "gateway.pool_exhausted", "A pool is used up, or nearly so."
    HEADER_MISMATCH = "http.header_mismatch", "A header is not as expected."
    BODY_MISMATCH = "http.body_mismatch", "The body is not as expected."
    ASSERTION = "http.assertion", "A value in the body is not as expected."
    LATENCY_TREND = "http.latency_trend", "Answers take longer to begin than they used to."
