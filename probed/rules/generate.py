"""The rules, of a configuration or for any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from probed.config import Check, Config
from probed.fields import format_duration
from probed.rules import checks, daemon, recording
from probed.rules.model import Alert, Group, Recording, text
from probed.telemetry.catalogue import label_name

QUORUM = 2
WAIT = 120.0
"""Seconds that a check with `depends_on` waits for what it depends on, where intervals are not known."""
SHORTEST, LONGEST = 60.0, 300.0
"""What it waits at least and at most where they are."""

_GENERIC = """\
Rules for any configuration of probed. Written by `probed rules --generic`; do not edit.
`probed rules` writes those of your configuration, which know its labels, dependencies, objectives
and which checks there must be."""
_CONFIG = """\
Rules for a configuration of probed. Written by `probed rules`: write them again when it changes."""


def generic(*, quorum: int = QUORUM) -> str:
    """The rules that need no configuration: all that they know of checks is `probed_check_info`."""
    rules = recording.checks()
    return text(_groups(rules, recording.KNOWN, [], quorum=quorum, wait=WAIT), _GENERIC)


def for_config(config: Config, *, quorum: int = QUORUM) -> str:
    """The rules of a configuration's enabled checks."""
    listed = [check for check in config.checks if check.enabled]
    settings = [
        {name: config.redactor.redact(value) for name, value in _labels(check).items()}
        for check in listed
    ]
    names = list(dict.fromkeys([*recording.KNOWN, *(n for each in settings for n in each)]))
    names.remove("probed_check")
    objectives = [(check.name, check.objective) for check in listed]
    rules = recording.checks(names, settings, objectives)
    wait = waiting(listed)
    return text(_groups(rules, names, [daemon.MISSING], quorum=quorum, wait=wait), _CONFIG)


def waiting(listed: Sequence[Check]) -> float:
    """How long it takes until all that others depend on had its turn to be found failing, and the
    others theirs to be found well again, in seconds.
    """
    known = {check.name: check for check in listed}
    below = [check for check in listed if check.depends_on]
    above = [known[name] for check in below for name in check.depends_on if name in known]
    failing = [check.interval + check.timeout for check in above]
    recovering = [check.recover_after * check.interval + check.timeout for check in below]
    return min(LONGEST, max([SHORTEST, *failing, *recovering]))


def _labels(check: Check) -> Mapping[str, str]:
    found = {
        "probed_check": check.name,
        "probed_probe": check.probe.kind,
        "target": check.probe.target,
        "severity": check.severity.value,
        "runbook": check.runbook or "",
        "depends_on": ",".join(check.depends_on),
    }
    for name, value in sorted(check.labels.items()):
        found.setdefault(label_name(name), value)
    return {name: value for name, value in found.items() if value}


def _groups(
    rules: Sequence[Recording], labels: Sequence[str], more: Sequence[Alert], *, quorum: int,
    wait: float,
) -> list[Group]:  # fmt: skip
    alerts = checks.alerts(labels, quorum=quorum, wait=format_duration(wait))
    slow = [alert for alert in alerts if alert.name in checks.OVER_DAYS]
    return [
        # In one group, so that what is recorded and what rests on it are of the same moment.
        Group("probed-checks", [*rules, *(alert for alert in alerts if alert not in slow)]),
        # These look back for days, which costs, and need not be quick.
        Group("probed-history", [*recording.errors(recording.WINDOWS), *slow], interval="1m"),
        Group("probed-days", recording.errors(recording.DAYS), interval="3m"),
        Group("probed-probers", [*daemon.alerts(), *more]),
    ]
