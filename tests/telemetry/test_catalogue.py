from __future__ import annotations

import re

import pytest

from probed.model import Measure, MetricType
from probed.telemetry.catalogue import (
    CATALOGUE,
    family_name,
    label_name,
    prometheus_name,
    unit_words,
)


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("probed.check.up", "", MetricType.GAUGE, "probed_check_up"),
        ("probed.check.runs", "{run}", MetricType.COUNTER, "probed_check_runs_total"),
        ("probed.check.duration", "s", MetricType.HISTOGRAM, "probed_check_duration_seconds"),
        ("probed.tls.certificate.not_after", "s", MetricType.GAUGE,
         "probed_tls_certificate_not_after_seconds"),
        ("http.client.response.body.size", "By", MetricType.GAUGE, "http_client_response_body_size_bytes"),
        ("disk.io", "By/s", MetricType.GAUGE, "disk_io_bytes_per_second"),
        ("mail.rate", "{message}/s", MetricType.GAUGE, "mail_rate_per_second"),
        ("share", "1", MetricType.GAUGE, "share"),
        ("waited.seconds", "s", MetricType.COUNTER, "waited_seconds_total"),
        ("things.total", "", MetricType.COUNTER, "things_total"),
        ("5xx..rate", "%", MetricType.GAUGE, "_5xx_rate_percent"),
    ],
)  # fmt: skip
def test_names_become_prometheus_names_as_the_specification_says(
    name: str, unit: str, kind: MetricType, expected: str
) -> None:
    assert prometheus_name(Measure(name, unit=unit, kind=kind)) == expected


def test_every_metric_follows_the_naming_rules() -> None:
    for measure in CATALOGUE:
        assert re.fullmatch(r"[a-z][a-z0-9_.]*", measure.name), measure.name
        assert not measure.name.endswith((".total", "_total", ".seconds", ".bytes")), measure.name
        assert measure.unit in {"", "s", "By"} or re.fullmatch(r"\{[a-z]+\}", measure.unit)
        assert measure.help.endswith("."), measure.name
        assert (measure.kind is MetricType.HISTOGRAM) == bool(measure.buckets)
        assert list(measure.buckets) == sorted(set(measure.buckets))


def test_no_two_metrics_share_a_name() -> None:
    names = [prometheus_name(measure) for measure in CATALOGUE]
    assert len(set(names)) == len(names)


def test_attributes_become_labels() -> None:
    assert label_name("error.type") == "error_type"
    assert label_name("db.name-space") == "db_name_space"
    assert label_name("5xx") == "key_5xx"
    assert label_name("été") == "t"
    assert label_name("é") == "_"


def test_a_unit_that_nobody_knows_is_written_as_it_is() -> None:
    assert unit_words("Mbit") == "Mbit"
    assert family_name("link.speed", "Mbit/s") == "link_speed_Mbit_per_second"
