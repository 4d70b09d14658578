"""The dashboards, as code: `python config/grafana/generate.py` writes dashboards/*.json.

Queries name metrics as Prometheus has them. `$location` is a label of `target_info`, not of each
series, hence the join in `here`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
RED, AMBER, GREEN, GREY = "red", "orange", "green", "text"
CHECK = 'probed_check=~"$check"'
DETAIL = (
    "/d/probed-check/probed-check?var-check=${__data.fields.probed_check}&${datasource:queryparam}"
)
_VERDICTS = [
    {
        "type": "value",
        "options": {"1": {"text": "up", "color": GREEN}, "0": {"text": "down", "color": RED}},
    },
    {"type": "special", "options": {"match": "null", "result": {"text": "unknown", "color": GREY}}},
]
_YES = [
    {
        "type": "value",
        "options": {"1": {"text": "yes", "color": GREEN}, "0": {"text": "no", "color": RED}},
    }
]


OUTCOMES = ("ok", "degraded", "failed", "unknown")
_OUTCOMES = [
    {
        "type": "value",
        "options": {
            str(code): {"text": name, "color": colour}
            for code, (name, colour) in enumerate(
                zip(OUTCOMES, (GREEN, AMBER, RED, GREY), strict=True)
            )
        },
    }
]


def here(expr: str) -> str:
    """Only from the chosen locations."""
    return f'{expr} * on (job, instance) group_left () target_info{{probed_location=~"$location"}}'


def of(metric: str, *more: str) -> str:
    """A metric of the chosen checks."""
    return here(f"{metric}{{{', '.join((CHECK, *more))}}}")


def rate(metric: str, *more: str) -> str:
    return here(f"rate({metric}{{{', '.join((CHECK, *more))}}}[$__rate_interval])")


def target(
    expr: str, legend: str = "", *, table: bool = False, heat: bool = False
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "datasource": PROMETHEUS, "expr": expr, "legendFormat": legend or "__auto",
        "instant": table, "range": not table,
    }  # fmt: skip
    if table:
        found["format"] = "table"
    if heat:
        found |= {"format": "heatmap", "exemplar": True}
    return found


def panel(
    kind: str, title: str, description: str, *targets: dict[str, Any], unit: str = "short", width: int = 12,
    height: int = 8, steps: Sequence[tuple[float | None, str]] = (), mappings: Sequence[Any] = (),
    options: dict[str, Any] | None = None, custom: dict[str, Any] | None = None,
    link: str = "", **more: Any,
) -> dict[str, Any]:  # fmt: skip
    defaults: dict[str, Any] = {"unit": unit, "custom": custom or {}, "mappings": list(mappings)}
    chosen = steps or [(None, GREEN)]
    defaults["thresholds"] = {
        "mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in chosen]
    }  # fmt: skip
    if steps or mappings:
        defaults["color"] = {"mode": "thresholds"}
    if link:
        defaults["links"] = [{"title": "This check", "url": link}]
    return {
        "type": kind, "title": title, "description": description, "datasource": PROMETHEUS,
        "targets": [{**one, "refId": chr(65 + n)} for n, one in enumerate(targets)],
        "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options or {},
        "gridPos": {"w": width, "h": height, "x": 0, "y": 0}, **more,
    }  # fmt: skip


def lines(title: str, description: str, *targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return panel(
        "timeseries", title, description, *targets,
        custom={"lineWidth": 1, "fillOpacity": 8, "spanNulls": False, "showPoints": "never"},
        options={"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        **more,
    )  # fmt: skip


def stacked(title: str, description: str, *targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return panel(
        "timeseries", title, description, *targets,
        custom={"lineWidth": 0, "fillOpacity": 70, "stacking": {"mode": "normal"}, "spanNulls": False},
        options={"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        **more,
    )  # fmt: skip


def number(title: str, description: str, *targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    more.setdefault("width", 4)
    more.setdefault("height", 4)
    return panel(
        "stat", title, description, *targets,
        options={"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "none"}, **more,
    )  # fmt: skip


def states(title: str, description: str, expr: str, legend: str, **more: Any) -> dict[str, Any]:
    """States over time, a row each."""
    more.setdefault("mappings", _VERDICTS)
    return panel(
        "state-timeline", title, description, target(expr, legend), width=WIDTH,
        custom={"fillOpacity": 80, "lineWidth": 0},
        options={"mergeValues": True, "showValue": "never", "rowHeight": 0.8,
                 "legend": {"displayMode": "list", "placement": "bottom"}}, **more,
    )  # fmt: skip


def rows(
    title: str, description: str, columns: Mapping[str, tuple[str, dict[str, Any]]], **more: Any
) -> dict[str, Any]:  # fmt: skip
    """A row for each check: `columns` are queries by their heading, with what the values of one are
    shown by (`unit`, `thresholds`, `mappings`).
    """
    more.setdefault("width", WIDTH)
    names = {f"Value #{chr(65 + n)}": heading for n, heading in enumerate(columns)}
    headings = names if len(columns) > 1 else {"Value": next(iter(columns))}
    hidden = ["Time", "job", "instance", *(f"Time {n}" for n in range(1, len(columns) + 1))]
    found = panel(
        "table", title, description, *(target(expr, table=True) for expr, _ in columns.values()), link=DETAIL,
        transformations=[
            {"id": "joinByField", "options": {"byField": "probed_check", "mode": "outer"}},
            {"id": "organize", "options": {
                "excludeByName": dict.fromkeys(hidden, True),
                "renameByName": {**headings, "probed_check": "check", "probed_probe": "kind", "error_type": "why"}}},
        ], **more,
    )  # fmt: skip
    found["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byName", "options": heading},
         "properties": [{"id": name, "value": value} for name, value in shown.items()]}
        for heading, (_, shown) in columns.items()
    ]  # fmt: skip
    return found


def heat(title: str, description: str, metric: str, *more: str) -> dict[str, Any]:
    expr = f"sum by (le) ({rate(f'{metric}_bucket', *more)})"
    return panel(
        "heatmap", title, description, target(expr, "{{le}}", heat=True), unit="s",
        options={"calculate": False, "yAxis": {"unit": "s"}, "cellGap": 1, "color": {"scheme": "Blues"},
                 "exemplars": {"color": "rgba(255,0,255,0.7)"}, "tooltip": {"mode": "single"}},
    )  # fmt: skip


def variable(
    name: str, label: str, query: str, *, several: bool = True, listed: bool = False
) -> dict[str, Any]:
    """`listed`: All is what the list has. Else it is anything, also what has no such label."""
    return {
        "type": "query", "name": name, "label": label, "datasource": PROMETHEUS, "refresh": 2, "sort": 1,
        "query": {"query": query, "refId": name}, "definition": query, "multi": several,
        "includeAll": several, "allValue": ".*" if several and not listed else None,
        "current": {"text": "All", "value": "$__all"} if several else {},
    }  # fmt: skip


def dashboard(
    name: str, title: str, description: str, panels: Sequence[dict[str, Any]], *, kinds: str = ".+",
    checks: bool = True, several: bool = True,
) -> dict[str, Any]:  # fmt: skip
    placed, x, y, height = [], 0, 0, 0
    for identity, one in enumerate(panels, 1):
        grid = one["gridPos"]
        if x + grid["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        placed.append({**one, "id": identity, "gridPos": {**grid, "x": x, "y": y}})
        x, height = x + grid["w"], max(height, grid["h"])
    variables: list[dict[str, Any]] = [
        {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus",
         "current": {}, "refresh": 1},
        variable("location", "Location", 'label_values(target_info{service_name="probed"}, probed_location)'),
    ]  # fmt: skip
    if checks:
        info = f'probed_check_info{{probed_probe=~"{kinds}", severity=~"$severity"}}'
        variables.append(
            variable("severity", "Severity", "label_values(probed_check_info, severity)")
        )
        variables.append(
            variable(
                "check",
                "Check",
                f"label_values({info}, probed_check)",
                several=several,
                listed=True,
            )
        )
    return {
        "uid": f"probed-{name}", "title": title, "description": description, "tags": ["probed"],
        "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1, "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"}, "timezone": "utc", "templating": {"list": variables},
        "annotations": {"list": []}, "panels": placed,
        "links": [{"type": "dashboards", "tags": ["probed"], "title": "probed", "asDropdown": True,
                   "includeVars": True, "keepTime": True}],
    }  # fmt: skip


# --- what all kinds have ---------------------------------------------------------------------------------

DOWN = [(None, GREEN), (1, RED)]
LATE = [(None, GREEN), (0.1, AMBER), (0.5, RED)]
RATIO = [(None, RED), (0.99, AMBER), (0.999, GREEN)]


def verdicts(height: int = 8) -> dict[str, Any]:
    return states(
        "Verdicts", "After thresholds and confirmation. A gap is unknown: nobody could judge.",
        f"min by (probed_check) ({of('probed_check_up')})", "{{probed_check}}", height=height,
    )  # fmt: skip


def reasons() -> dict[str, Any]:
    more = 'error_type!=""'
    return stacked(
        "Why", "Runs that were not ok, by their reason (error.type).",
        target(f"sum by (error_type) ({rate('probed_check_runs_total', more)}) * 60", "{{error_type}}"),
        unit="rpm",
    )  # fmt: skip


def errors(window: str = "$__range") -> str:
    failed = f'sum by (probed_check) (increase(probed_check_runs_total{{{CHECK}, probed_outcome="failed"}}[{window}]))'
    judged = f'sum by (probed_check) (increase(probed_check_runs_total{{{CHECK}, probed_outcome!="unknown"}}[{window}]))'
    return f"{failed} / ({judged} > 0)"


def outcomes(metric: str, by: str, label: str = "probed_outcome") -> str:
    """A number for the outcome, as `_OUTCOMES` has them: of that which is 1, or the only one there is."""
    series = [of(metric, f'{label}="{name}"') for name in OUTCOMES]
    if label == "probed_outcome":
        series = [f"({one} == 1)" for one in series]
    codes = [f"0 * {one} + {code}" for code, one in enumerate(series)]
    return f"max by ({by}) ({' or '.join(codes)})"


def steps(*found: tuple[float | None, str]) -> dict[str, Any]:
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": colour} for value, colour in found],
    }


COLOURED = {"custom.cellOptions": {"type": "color-text"}}
_FAILED = f'increase(probed_check_runs_total{{{CHECK}, probed_outcome="failed"}}[$__range])'
_DOWN = f"(min by (probed_check) ({of('probed_check_up')}) == 0)"
_NAMED = "topk by (probed_check) (1, group by (probed_check, target, severity, probed_probe) (probed_check_info))"
_IS_DOWN = f"{_DOWN} * on (probed_check) group_left (target, severity, probed_probe) {_NAMED}"
_GOOD_AGO = (
    f"time() - (max by (probed_check) ({of('probed_check_last_success_timestamp_seconds')}) > 0)"
)
_WORST = f"topk by (probed_check) (1, sum by (probed_check, error_type) ({_FAILED}) > 0)"
_BUDGET = (
    "(probed:check_budget:ratio"
    " or on (probed_check) (0 * group by (probed_check) (probed_check_info) + 0.01))"
)
DEGRADED, UNKNOWN = 'probed_outcome="degraded"', 'probed_outcome="unknown"'
OVERVIEW = [
    number("Down", "Checks whose verdict is down.",
           target(f"count(min by (probed_check) ({of('probed_check_up')}) == 0) or vector(0)"), steps=DOWN),
    number("Degraded", "Checks whose last run was degraded.",
           target(f"count(max by (probed_check) ({of('probed_check_outcome', DEGRADED)}) == 1)"
                  " or vector(0)"), steps=[(None, GREEN), (1, AMBER)]),
    number("Unknown", "Checks that nobody could judge: our own network, a missing right.",
           target(f"count(max by (probed_check) ({of('probed_check_outcome', UNKNOWN)}) == 1)"
                  " or vector(0)"), steps=[(None, GREEN), (1, AMBER)]),
    number("Checks", "Checks that are run.", target(f"count(count by (probed_check) ({of('probed_check_info')}))")),
    number("Good runs", "Of the runs that could be judged, in the time that is shown.",
           target("1 - sum(increase(probed_check_runs_total{" + CHECK + ', probed_outcome="failed"}[$__range]))'
                  " / sum(increase(probed_check_runs_total{" + CHECK + ', probed_outcome!="unknown"}[$__range]))'),
           unit="percentunit", steps=RATIO),
    number("Probers", "Daemons that are seen.", target("count(probed_build_info)")),
    verdicts(12),
    rows("What is not up", "Its last good run, and what its runs fail of most.",
         {"verdict": (_IS_DOWN, {"mappings": _VERDICTS, **COLOURED}),
          "last good run, ago": (f"{_GOOD_AGO} and on (probed_check) {_DOWN}", {"unit": "s"}),
          "failed runs": (f"{_WORST} and on (probed_check) {_DOWN}", {"decimals": 0})}),
    reasons(),
    lines("Availability", "The part of the runs that were good, of those that could be judged.",
          target(f"1 - {errors('1h')}", "{{probed_check}}"), unit="percentunit", steps=RATIO),
    rows("Error budget", "What is left of it, of the time that is shown: 1 - `objective` of the check, where the rules of "
         "its configuration are loaded, else 1 %.",
         {"left": (f"clamp_min(1 - ({errors()}) / on (probed_check) {_BUDGET}, 0)",
                   {"unit": "percentunit", "thresholds": steps((None, RED), (0.001, AMBER), (0.5, GREEN)), **COLOURED})},
         width=12),
    rows("Certificates", "Time until the certificate that ends first.",
         {"ends in": (f"min by (probed_check) ({of('probed_tls_certificate_not_after_seconds')}) - time()",
                      {"unit": "s", "thresholds": steps((None, RED), (604800, AMBER), (1814400, GREEN)), **COLOURED})},
         width=12),
]  # fmt: skip

DETAILS = [
    states("Verdict", "After thresholds and confirmation.", f"min by (probed_check) ({of('probed_check_up')})",
           "{{probed_check}}", height=4),
    states("Outcome of the runs", "Of the last run; the verdict follows after `fail_after` of them.",
           outcomes("probed_check_outcome", "probed_check"), "{{probed_check}}", height=4, mappings=_OUTCOMES),
    stacked("Phases", "How long each step of the last run took: which part is slow.",
            target(f"max by (probed_phase) ({of('probed_check_phase_duration_seconds')})", "{{probed_phase}}"), unit="s"),
    heat("Time of the runs", "Each dot is a run whose trace is kept: click on it.", "probed_check_duration_seconds"),
    lines("Quantiles", "Of the time of a run.",
          *(target(f"histogram_quantile({q}, sum by (le) ({rate('probed_check_duration_seconds_bucket')}))", f"p{q * 100:g}")
            for q in (0.5, 0.9, 0.99)), unit="s"),
    reasons(),
    stacked("Runs", "By outcome.",
            target(f"sum by (probed_outcome) ({rate('probed_check_runs_total')}) * 60", "{{probed_outcome}}"), unit="rpm"),
    lines("Failures in a row", "The verdict is down after `fail_after` of them.",
          target(f"max by (probed_check) ({of('probed_check_consecutive_failures')})", "{{probed_check}}"),
          steps=[(None, GREEN), (1, AMBER), (2, RED)]),
    number("Last run", "How long ago it began.",
           target(f"time() - max(({of('probed_check_last_run_timestamp_seconds')}))"), unit="s", width=6),
    number("Last good run", "How long ago it began.",
           target(f"time() - max(({of('probed_check_last_success_timestamp_seconds')}))"), unit="s", width=6),
    number("Interval", "How often it is run.", target(f"max({of('probed_check_interval_seconds')})"), unit="s", width=6),
    number("Unconfirmed failures", "First runs that failed and were good when repeated at once.",
           target(f"sum(increase(probed_check_unconfirmed_total{{{CHECK}}}[$__range])) or vector(0)"), width=6),
]  # fmt: skip

GATEWAY = [
    verdicts(6),
    lines("Time to the first byte", "From the end of the request; `latency` judges it.",
          target(f"max by (probed_check) ({of('probed_http_response_wait_seconds')})", "{{probed_check}}"), unit="s"),
    lines("Status", "Of the last answer.",
          target(f"max by (probed_check) ({of('probed_http_response_status_code')})", "{{probed_check}}"),
          steps=[(None, GREEN), (400, AMBER), (500, RED)]),
    states("Upstreams, asked directly", "Is it the backend, or the way through the gateway? Step 2 of the playbook.",
           f"min by (probed_check, upstream) ({of('probed_gateway_upstream_up')})", "{{probed_check}} {{upstream}}", height=6),
    states("Components", "What the health document says of each.",
           outcomes("probed_gateway_component_status", "component", "state"), "{{component}}",
           mappings=_OUTCOMES, height=8),
    number("Open circuit breakers", "Of all components.",
           target(f"sum(max by (probed_check) ({of('probed_gateway_circuit_open')}))"), steps=DOWN, width=12, height=8),
    heat("Requests", "Time of the HTTP requests.", "http_client_request_duration_seconds"),
    lines("Size of the answers", "A body that shrinks may be an error page.",
          target(f"max by (probed_check) ({of('probed_http_response_body_size_bytes')})", "{{probed_check}}"), unit="bytes"),
    reasons(),
]  # fmt: skip

NODE = "{{server_address}}:{{server_port}}"
MONGODB = [
    verdicts(6),
    lines("Connections", "Current, and what is left: step 1 of the playbook.",
          target(f"max by (server_address, server_port, type) ({of('mongodb_connection_count')})", f"{NODE} {{{{type}}}}")),
    lines("Active operations", "Of users and of the server itself.",
          target(f"max by (server_address, server_port, class) ({of('probed_mongodb_operation_active')})", f"{NODE} {{{{class}}}}")),
    lines("Long-running operations", "Those above the threshold of the check; the finding has the opid.",
          target(f"max by (server_address, server_port, class) ({of('probed_mongodb_operation_long_running')})", f"{NODE} {{{{class}}}}"),
          steps=DOWN),
    lines("The longest operation", "Of those that go on.",
          target(f"max by (server_address, server_port) ({of('probed_mongodb_operation_duration_max_seconds')})", NODE), unit="s"),
    lines("Slow operations", "A minute, from the profiler; each is counted once.",
          target(f"sum by (db_namespace) ({rate('probed_mongodb_slow_operation_total')}) * 60", "{{db_namespace}}"), unit="cpm"),
    lines("The slowest operation", "Since the run before.",
          target(f"max by (db_namespace) ({of('probed_mongodb_slow_operation_duration_max_seconds')})", "{{db_namespace}}"), unit="s"),
    lines("Waiting for locks", "Operations that wait.",
          target(f"max by (server_address, server_port) ({of('probed_mongodb_operation_lock_waiting')})", NODE)),
    reasons(),
    states("Members of the replica set", "How many are in each state.",
           f"max by (mongodb_replica_set_member_state) ({of('mongodb_replica_set_member_count')}) > 0",
           "{{mongodb_replica_set_member_state}}", mappings=[], height=6),
    number("Profiler", "0: slow operations are not seen.",
           target(f"min by (db_namespace) ({of('probed_mongodb_profiler_level')})", "{{db_namespace}}"),
           steps=[(None, AMBER), (1, GREEN)], width=6, height=8),
    lines("Time of our own commands", "What watching costs.",
          target("histogram_quantile(0.9, sum by (le, db_operation_name) (" + rate("db_client_operation_duration_seconds_bucket") + "))",
                 "{{db_operation_name}}"), unit="s", width=18),
]  # fmt: skip

EMAIL = [
    verdicts(6),
    states("Relays that can be used", "The primary first: switch to the backup, or not?",
           f"min by (probed_check, smtp_relay) ({of('probed_smtp_relay_usable')})", "{{probed_check}} {{smtp_relay}}",
           mappings=_YES, height=5),
    lines("Banner", "Time to its first byte.",
          target(f"max by (smtp_relay) ({of('probed_smtp_banner_first_byte_seconds')})", "{{smtp_relay}}"), unit="s"),
    lines("Phases of the dialogue", "The 90th percentile.",
          target("histogram_quantile(0.9, sum by (le, smtp_phase) (" + rate("probed_smtp_phase_duration_seconds_bucket") + "))",
                 "{{smtp_phase}}"), unit="s"),
    lines("Replies", "A minute, by class: 4xx are deferrals, 5xx refusals.",
          target(f"sum by (smtp_relay, smtp_reply_class) ({rate('probed_smtp_replies_total')}) * 60",
                 "{{smtp_relay}} {{smtp_reply_class}}"), unit="cpm"),
    number("Certificates of the relays", "Time that is left.",
           target(f"min by (smtp_relay) ({of('probed_smtp_certificate_not_after_seconds')}) - time()", "{{smtp_relay}}"),
           unit="s", steps=[(None, RED), (604800, AMBER), (1814400, GREEN)], width=12, height=8),
    states("SPF, DKIM, DMARC", "The outcome that each part came to.",
           outcomes("probed_email_auth_status", "check, subject"), "{{check}} {{subject}}", mappings=_OUTCOMES, height=9),
    lines("SPF lookups", "Of 10; `spf.tree` of a run says which include costs what.",
          target(f"max by (probed_check) ({of('probed_spf_terms')})", "{{probed_check}}"),
          target(f"max by (include) ({of('probed_spf_include_terms')})", "{{include}}"),
          steps=[(None, GREEN), (9, AMBER), (11, RED)]),
    lines("DNS", "The 90th percentile of a query, by who was asked.",
          target("histogram_quantile(0.9, sum by (le, vantage) (" + rate("probed_dns_query_duration_seconds_bucket") + "))",
                 "{{vantage}}"), unit="s"),
    states("SPF for our senders", "1 for the result that it comes to.",
           f"max by (sender, result) ({of('probed_spf_sender_result')}) == 1", "{{sender}} {{result}}",
           mappings=[{"type": "value", "options": {"1": {"text": "so", "color": "blue"}}}], height=6),
    number("Records that changed", "In the time that is shown.",
           target(f"sum(increase(probed_email_auth_record_changes_total{{{CHECK}}}[$__range]))"),
           steps=[(None, GREEN), (1, AMBER)], width=6, height=8),
    lines("Mail that waits", "In the queue.",
          target(f"max by (queue) ({of('probed_email_queue_depth')})", "{{queue}}"), width=6),
    lines("The oldest mail that waits", "How long already.",
          target(f"max by (queue) ({of('probed_email_queue_oldest_age_seconds')})", "{{queue}}"), unit="s"),
    lines("Round trip", "From the relay to the mailbox.",
          target(f"max by (probed_check) ({of('probed_email_roundtrip_delivery_duration_seconds')})", "{{probed_check}}"), unit="s"),
    reasons(),
]  # fmt: skip

STRIPE = [
    verdicts(6),
    number("Events that wait", "Undelivered beyond the grace: step 2 of the playbook.",
           target(f"max({of('probed_stripe_events_undelivered')})"), steps=DOWN, width=6),
    number("The oldest of them", "Stripe gives up after 72 h.",
           target(f"max({of('probed_stripe_events_oldest_undelivered_age_seconds')})"), unit="s",
           steps=[(None, GREEN), (3600, AMBER), (86400, RED)], width=6),
    number("Lost events", "In the time that is shown.",
           target(f"sum(increase(probed_stripe_events_lost_total{{{CHECK}}}[$__range]))"), steps=DOWN, width=6),
    number("Enabled endpoints", "0: nobody is told of anything.",
           target(f"min({of('probed_stripe_endpoints_enabled')})"), steps=[(None, RED), (1, GREEN)], width=6),
    lines("What our webhook endpoint answers", "`reject` must be 400, `signed` 2xx: else a wrong secret, or no check of it.",
          target(f"max by (event) ({of('probed_stripe_webhook_response_status_code')})", "{{event}}")),
    lines("Deliveries that arrive", "The part of the attempts.",
          target(f"min by (probed_check) ({of('probed_stripe_webhook_success_ratio')})", "{{probed_check}}"),
          unit="percentunit", steps=[(None, RED), (0.9, AMBER), (0.99, GREEN)]),
    lines("Drift", "How far the application is behind Stripe.",
          target(f"max by (probed_check) ({of('probed_stripe_sync_lag_seconds')})", "{{probed_check}}"), unit="s"),
    lines("Subscriptions", "Difference between Stripe's and the application's.",
          target(f"max by (probed_check) ({of('probed_stripe_sync_difference')})", "{{probed_check}}")),
    lines("Clocks", "Against Stripe's: a wrong one fails signatures.",
          target(f"max by (probed_check, server) ({of('probed_clock_skew_seconds')})", "{{probed_check}} {{server}}"), unit="s"),
    lines("Age of each step's result", "Steps have a cadence of their own.",
          target(f"max by (step) ({of('probed_stripe_step_age_seconds')})", "{{step}}"), unit="s"),
    lines("Reads", "A minute, of the account's allocation.",
          target(f"sum({rate('probed_stripe_api_reads_total')}) * 60", "reads"), unit="cpm"),
    reasons(),
]  # fmt: skip


def own(metric: str, *more: str) -> str:
    return here(f"{metric}{{{', '.join(more)}}}" if more else metric)


def own_rate(metric: str) -> str:
    return here(f"rate({metric}[$__rate_interval])")


ITSELF = [
    number("Probers", "By version.", target(f"count by (version) ({own('probed_build_info')})", "{{version}}")),
    number("Configuration", "Whether the last reload was taken.",
           target(f"min({own('probed_config_last_reload_success')})"), mappings=_YES),
    number("Drained", "Probers that run no checks, because somebody said so.",
           target(f"sum({own('probed_scheduler_drained')})"), steps=[(None, GREEN), (1, AMBER)]),
    number("Since the last reload", "Of the one that was loaded first.",
           target(f"time() - min({own('probed_config_last_reload_timestamp_seconds')})"), unit="s"),
    number("Waiting to be sent", "The oldest telemetry in the spool.",
           target(f"max({own('probed_export_spool_oldest_age_seconds')})"), unit="s",
           steps=[(None, GREEN), (120, AMBER), (600, RED)]),
    number("Values that were dropped", "Too many attribute sets, or not finite.",
           target(f"sum({own('probed_measure_dropped_total')}) or vector(0)"), steps=[(None, GREEN), (1, AMBER)]),
    lines("Lateness", "How late runs are started, p50 and p99.",
          *(target(f"histogram_quantile({q}, sum by (le) ({own_rate('probed_scheduler_lateness_seconds_bucket')}))", f"p{q * 100:g}")
            for q in (0.5, 0.99)), unit="s", steps=LATE),
    lines("Lag of the event loop", "p50 and p99: a loop that is late makes every peer look slow.",
          *(target(f"histogram_quantile({q}, sum by (le) ({own_rate('probed_loop_lag_seconds_bucket')}))", f"p{q * 100:g}")
            for q in (0.5, 0.99)), unit="s", steps=LATE),
    stacked("Runs that were missed", "A minute, by reason.",
            target(f"sum by (reason) ({own_rate('probed_scheduler_missed_total')}) * 60", "{{reason}}"), unit="rpm"),
    lines("Runs that go on, and that wait", "Against `service.concurrency`.",
          target(f"sum({own('probed_scheduler_running')})", "running"),
          target(f"sum({own('probed_scheduler_waiting')})", "waiting")),
    stacked("Export", "Items a minute, by what became of them.",
            target(f"sum by (otel_signal, outcome) ({own_rate('probed_export_items_total')}) * 60", "{{otel_signal}} {{outcome}}"),
            unit="cpm"),
    lines("Spool", "How full each lane is.",
          target(f"max by (lane) ({here('probed_export_spool_size_bytes / (probed_export_spool_limit_bytes > 0)')})", "{{lane}}"),
          unit="percentunit", steps=[(None, GREEN), (0.8, AMBER), (0.95, RED)]),
    lines("Processor", "Of a core.", target(f"sum by (instance) ({own_rate('process_cpu_time_seconds_total')})", "{{instance}}"),
          unit="percentunit"),
    lines("Memory", "Resident.", target(f"max by (instance) ({own('process_memory_usage_bytes')})", "{{instance}}"), unit="bytes"),
    lines("Open files", "And tasks of the loop.",
          target(f"max by (instance) ({own('probed_process_open_files')})", "{{instance}} files"),
          target(f"max by (instance) ({own('probed_loop_tasks')})", "{{instance}} tasks")),
    stacked("State", "Saves of the state file a minute.",
            target(f"sum by (outcome) ({own_rate('probed_state_saves_total')}) * 60", "{{outcome}}"), unit="cpm"),
]  # fmt: skip

DASHBOARDS = (
    dashboard("overview", "probed: overview", "What is not up, since when, and why.", OVERVIEW),
    dashboard("check", "probed: check", "One check: its phases, times, reasons and runs.", DETAILS, several=False),
    dashboard("gateway", "probed: API gateway", "Is it the gateway, a backend, or the way between?", GATEWAY, kinds="gateway"),
    dashboard("mongodb", "probed: MongoDB", "Connections, operations, replica set.", MONGODB, kinds="mongo"),
    dashboard("email", "probed: email", "Can mail go out, does it, and do others take it?", EMAIL,
              kinds="smtp|email_auth|email_queue|email_roundtrip"),
    dashboard("stripe", "probed: Stripe", "Events, deliveries, our endpoint, drift.", STRIPE, kinds="stripe"),
    dashboard("itself", "probed: the probers", "Whether what watches is well itself.", ITSELF, checks=False),
)  # fmt: skip


def texts() -> dict[str, str]:
    """The files, by name."""
    return {
        f"{one['uid']}.json": json.dumps(one, indent=1, sort_keys=True) + "\n" for one in DASHBOARDS
    }


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text)
