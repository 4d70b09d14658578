"""What people are told about the probers themselves: a check that is not run alerts nobody."""

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
    "No prober knows {{ $labels.probed_check }} ({{ $labels.target }})",
    "It is in the configuration that these rules were made from. Was a prober not reloaded"
    " (`probed config diff`), or were the rules not made again (`probed rules`)?",
    wait="5m",
    more={"target": "", "runbook": "", "impact": ""},
    runbook=True,
)


def alerts() -> list[Alert]:
    return [
        Alert(
            "ProbedWatchdog", "vector(1)", "none",
            "Alerts can be delivered",
            "Always fires. Who receives it must tell people when it no longer comes: then Prometheus,"
            " Alertmanager or the way out is broken, and no other alert would arrive.",
        ),
        Alert(
            "ProbedAbsent", "absent(probed_build_info)", "P1",
            "No prober is seen at all",
            "There are no metrics of any probed: nothing is watched. Is it the scraping"
            ' (`up{job="probed"}`), or do they not run (`systemctl status probed`)?',
            wait="5m",
        ),
        Alert(
            "ProbedLocationLost",
            'group by (probed_location) (last_over_time(probed:instance:location{probed_location!=""}[1h]))\n'
            "unless on (probed_location) probed:instance:location",
            "P1",
            "No prober in {{ $labels.probed_location }} is seen any more",
            "The checks of that location are not watched from there, and do not count for the quorum."
            " Ends by itself after an hour: a location may be given up.",
            wait="2m",
        ),
        Alert(
            "ProbedProberDown",
            f"up == 0 and on ({OF_INSTANCE}) last_over_time(probed_build_info[1d])",
            "P2",
            "The prober {{ $labels.instance }} does not answer",
            "Its /metrics cannot be scraped: `systemctl status probed`, `journalctl -u probed` there.",
            wait="3m",
        ),
        Alert(
            "ProbedProberOffline",
            "sum by (probed_location) (probed:check_reasons:increase15m"
            '{probed_outcome="unknown", error_type=~"self\\\\.(offline|network)"}) > 0\n'
            'and on (probed_location) (probed:check_outcome:location{probed_outcome="unknown"} == 1)',
            "P1",
            "The prober{{ with $labels.probed_location }} in {{ . }}{{ end }} is offline",
            "Every reference target fails too, or the machine's own network is down: checks are"
            " unknown, and nothing that is down would be noticed from there.",
            wait="2m", keep="2m",
        ),
        Alert(
            "ProbedSchedulerLate",
            located(
                f"(sum by ({OF_INSTANCE}) (increase(probed_scheduler_missed_total"
                '{reason=~"late|limit|overlap"}[10m]))\n'
                f"  > 0.01 * sum by ({OF_INSTANCE}) (increase(probed_scheduler_lateness_seconds_count[10m]))\n"
                f"or histogram_quantile(0.99, sum by ({OF_INSTANCE}, le)"
                " (rate(probed_scheduler_lateness_seconds_bucket[10m]))) > 0.5)"
            ),
            "P2",
            f"The prober {_PROBER} does not keep up",
            "Over 1 % of the runs were not started, or 1 % started more than half a second late:"
            " too little processor time, or `service.concurrency` too low for checks that time out."
            " probed_scheduler_missed_total says why, probed_loop_lag_seconds who is late.",
            wait="10m",
        ),
        Alert(
            "ProbedExportFailing",
            located(f"max by ({OF_INSTANCE}) (probed_export_spool_oldest_age_seconds) > 600"),
            "P2",
            f"{_PROBER} cannot deliver its telemetry",
            "The oldest of it waits for {{ $value | humanizeDuration }}; nothing is lost yet. Is the"
            " collector there? The daemon's log says what it answers.",
            wait="5m",
        ),
        Alert(
            "ProbedExportLost",
            located(
                f"sum by ({OF_INSTANCE}, otel_signal) (increase(probed:export_lost:sum[15m])) > 0"
            ),
            "P2",
            f"{_PROBER} loses {{{{ $labels.otel_signal }}}}",
            "The collector refused them, or there was no room. probed_export_items_total has the"
            " error.type; metrics on /metrics are not concerned.",
        ),
        Alert(
            "ProbedSpoolFilling",
            located(
                "probed_export_spool_size_bytes\n  / on (job, instance, lane)"
                " (probed_export_spool_limit_bytes > 0) > 0.8"
            ),
            "P2",
            f"The spool of {_PROBER} is almost full",
            "Lane {{ $labels.lane }} is {{ $value | humanizePercentage }} full; then the oldest is"
            " dropped. Mend the collector, or give `telemetry.spool` more room.",
            wait="5m",
        ),
        Alert(
            "ProbedSpoolBroken",
            located(f"sum by ({OF_INSTANCE}) (increase(probed_export_spool_errors_total[15m])) > 0"),
            "P2",
            f"The disk of the spool of {_PROBER} fails",
            "Telemetry waits in memory, and a restart loses it: is the state directory full or"
            " read-only?",
        ),
        Alert(
            "ProbedConfigReloadFailed",
            located(f"max by ({OF_INSTANCE}) (probed_config_last_reload_success) == 0"),
            "P3",
            f"{_PROBER} runs on an old configuration",
            "The last reload was refused: `probed config check` says why, in which line.",
            wait="5m",
        ),
    ]  # fmt: skip
