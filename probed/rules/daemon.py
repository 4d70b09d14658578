"""Alerts on the probers: a check that does not run cannot alert."""

from __future__ import annotations

from probed.rules.model import Alert
from probed.rules.recording import OF_INSTANCE, located

_PROBER = "{{ $labels.instance }}{{ with $labels.probed_location }} in {{ . }}{{ end }}"
MISSING = Alert(
    "ProbedCheckMissing",
    "probed:check:config\n"
    "unless on (probed_check) last_over_time(probed_check_info[3m])\n"
    "unless on () absent(probed_build_info)",
    "P2",
    "No prober runs {{ $labels.probed_check }} ({{ $labels.target }})",
    "The check is in the configuration that these rules were generated from. Either a prober was not"
    " reloaded (see `probed config diff`), or the rules are outdated (run `probed rules`).",
    wait="5m",
    more={"target": "", "runbook": "", "impact": ""},
    runbook=True,
)


def alerts() -> list[Alert]:
    """Return the alerts on probers, and the watchdog of the delivery."""
    return [*_presence(), _overload(), *_export(), _configuration()]


def _presence() -> list[Alert]:
    return [
        Alert(
            "ProbedWatchdog", "vector(1)", "none",
            "Alerts can be delivered",
            "Always fires. Its receiver must raise the alarm when it stops arriving: then Prometheus,"
            " Alertmanager or the delivery is broken, and no other alert would arrive.",
        ),
        Alert(
            "ProbedAbsent", "absent(probed_build_info)", "P1",
            "No prober reports metrics",
            "No metrics of any prober arrive, so nothing is monitored. Check the scraping"
            ' (`up{job="probed"}`) and the daemons (`systemctl status probed`).',
            wait="5m",
        ),
        Alert(
            "ProbedLocationLost",
            'group by (probed_location) (last_over_time(probed:instance:location{probed_location!=""}[1h]))\n'
            "unless on (probed_location) probed:instance:location",
            "P1",
            "No prober in {{ $labels.probed_location }} reports metrics",
            "Checks are not run from that location, and it does not count for the quorum. The alert"
            " resolves after an hour, because a location may be removed.",
            wait="2m",
        ),
        Alert(
            "ProbedProberDown",
            f"up == 0 and on ({OF_INSTANCE}) last_over_time(probed_build_info[1d])",
            "P2",
            "The prober {{ $labels.instance }} is down",
            "Its /metrics cannot be scraped. Look at `systemctl status probed` and `journalctl -u probed` there.",
            wait="3m",
        ),
        Alert(
            "ProbedProberOffline",
            "sum by (probed_location) (probed:check_reasons:increase15m"
            '{probed_outcome="unknown", error_type=~"self\\\\.(offline|network)"}) > 0\n'
            'and on (probed_location) (probed:check_outcome:location{probed_outcome="unknown"} == 1)',
            "P1",
            "The prober{{ with $labels.probed_location }} in {{ . }}{{ end }} is offline",
            "Every reference check fails, or the network of the machine is down. Checks are unknown, and"
            " an outage would go unnoticed from there.",
            wait="2m", keep_firing="2m",
        ),
    ]  # fmt: skip


def _overload() -> Alert:
    return Alert(
        "ProbedSchedulerLate",
        located(
            f"(sum by ({OF_INSTANCE}) (increase(probed_scheduler_missed_total"
            '{reason=~"late|limit|overlap"}[10m]))\n'
            f"  > 0.01 * sum by ({OF_INSTANCE}) (increase(probed_scheduler_lateness_seconds_count[10m]))\n"
            f"or histogram_quantile(0.99, sum by ({OF_INSTANCE}, le)"
            " (rate(probed_scheduler_lateness_seconds_bucket[10m]))) > 0.5)"
        ),
        "P2",
        f"The prober {_PROBER} is overloaded",
        "More than 1 % of the runs were not started, or 1 % started more than half a second late. It"
        " needs more CPU, or `service.concurrency` is too low for checks that time out."
        " probed_scheduler_missed_total has the reasons; a high probed_loop_lag_seconds means CPU.",
        wait="10m",
    )


def _export() -> list[Alert]:
    return [
        Alert(
            "ProbedExportFailing",
            located(f"max by ({OF_INSTANCE}) (probed_export_spool_oldest_age_seconds) > 600"),
            "P2",
            f"{_PROBER} cannot deliver its telemetry",
            "The oldest of it has waited for {{ $value | humanizeDuration }}; nothing is lost yet. Check the"
            " collector. The daemon's log has its answers.",
            wait="5m",
        ),
        Alert(
            "ProbedExportLost",
            located(
                f"sum by ({OF_INSTANCE}, otel_signal) (increase(probed:export_lost:sum[15m])) > 0"
            ),
            "P2",
            f"{_PROBER} loses {{{{ $labels.otel_signal }}}}",
            "The collector rejected them, or the spool was full. probed_export_items_total has the"
            " error_type. /metrics is not affected.",
        ),
        Alert(
            "ProbedSpoolFilling",
            located(
                "probed_export_spool_size_bytes\n  / on (job, instance, lane)"
                " (probed_export_spool_limit_bytes > 0) > 0.8"
            ),
            "P2",
            f"The spool of {_PROBER} is almost full",
            "Lane {{ $labels.lane }} is {{ $value | humanizePercentage }} full. When it is full, the oldest"
            " telemetry is dropped. Repair the collector, or raise the limits in `telemetry.spool`.",
            wait="5m",
        ),
        Alert(
            "ProbedSpoolBroken",
            located(
                f"sum by ({OF_INSTANCE}) (increase(probed_export_spool_errors_total[15m])) > 0"
            ),
            "P2",
            f"The spool of {_PROBER} cannot be written",
            "Telemetry waits in memory, and a restart loses it. Check whether the state directory is full"
            " or read-only.",
        ),
    ]


def _configuration() -> Alert:
    return Alert(
        "ProbedConfigReloadFailed",
        located(f"max by ({OF_INSTANCE}) (probed_config_last_reload_success) == 0"),
        "P3",
        f"{_PROBER} runs an old configuration",
        "The last reload failed. `probed config check` shows the errors with their lines.",
        wait="5m",
    )
