"""Gateway checks: the gateway, the backends behind it, and the network between them."""

from __future__ import annotations

from .layout import dashboard
from .panels import (
    AMBER,
    GREEN,
    NONE_ALLOWED,
    OUTCOME_COLOURS,
    RED,
    heatmap,
    lines,
    query,
    reasons,
    stat,
    timeline,
    verdicts,
)
from .queries import checks, outcomes

PANELS = [
    verdicts(6),
    lines(
        "Time to the first byte",
        "Time from the end of the request to the first byte of the response. `latency` sets its thresholds.",
        query(
            f"max by (probed_check) ({checks('probed_http_response_wait_seconds')})",
            "{{probed_check}}",
        ),
        unit="s",
    ),
    lines(
        "HTTP status",
        "Status code of the last response.",
        query(
            f"max by (probed_check) ({checks('probed_http_response_status_code')})",
            "{{probed_check}}",
        ),
        steps=[(None, GREEN), (400, AMBER), (500, RED)],
    ),
    timeline(
        "Upstreams, probed directly",
        "Tells a failing backend from a failing gateway. Step 2 of the playbook.",
        f"min by (probed_check, upstream) ({checks('probed_gateway_upstream_up')})",
        "{{probed_check}} {{upstream}}",
        height=6,
    ),
    timeline(
        "Components",
        "State of each component in the health document.",
        outcomes("probed_gateway_component_status", "component", "state"),
        "{{component}}",
        mappings=OUTCOME_COLOURS,
        height=8,
    ),
    stat(
        "Open circuit breakers",
        "Open circuit breakers in all components.",
        query(f"sum(max by (probed_check) ({checks('probed_gateway_circuit_open')}))"),
        steps=NONE_ALLOWED,
        width=12,
        height=8,
    ),
    heatmap("Requests", "Duration of HTTP requests.", "http_client_request_duration_seconds"),
    lines(
        "Response size",
        "Size of the response body. A body that shrinks may be an error page.",
        query(
            f"max by (probed_check) ({checks('probed_http_response_body_size_bytes')})",
            "{{probed_check}}",
        ),
        unit="bytes",
    ),
    reasons(),
]

DASHBOARD = dashboard(
    "gateway",
    "probed: API gateway",
    "Is it the gateway, a backend, or the network between them?",
    PANELS,
    kinds="gateway",
)
