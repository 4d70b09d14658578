from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from probed.config.telemetry import Otlp, Spool, Telemetry
from probed.telemetry.settings import TRACE_RATIO, ExportSettings, export_settings, sampled

URL = "http://collector:4318"


def settings(telemetry: Telemetry | None = None, **environ: str) -> ExportSettings:
    return export_settings(telemetry or Telemetry(), environ)


def test_nothing_is_exported_unless_an_endpoint_is_set() -> None:
    assert settings() == ExportSettings(spool=Spool())
    # What other programs of the machine are told is no business of ours then.
    assert settings(OTEL_EXPORTER_OTLP_PROTOCOL="grpc", OTEL_TRACES_EXPORTER="zipkin").signals == ()
    assert settings(OTEL_EXPORTER_OTLP_ENDPOINT="  ").signals == ()


@pytest.mark.parametrize("base", [URL, URL + "/"])
def test_a_base_endpoint_gets_the_path_of_each_signal(base: str) -> None:
    for found in (
        settings(OTEL_EXPORTER_OTLP_ENDPOINT=base),
        settings(Telemetry(otlp=Otlp(endpoint=base))),
    ):
        assert [s.url for s in found.signals] == [URL + "/v1/traces", URL + "/v1/metrics"]


def test_a_signals_own_endpoint_is_taken_as_it_is() -> None:
    found = settings(
        OTEL_EXPORTER_OTLP_ENDPOINT=URL + "/base", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://t/x"
    )
    assert [s.url for s in found.signals] == ["https://t/x", URL + "/base/v1/metrics"]
    only = settings(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="https://m/v1/metrics")
    assert (only.traces, only.metrics and only.metrics.url) == (None, "https://m/v1/metrics")


def test_the_configuration_goes_before_every_variable() -> None:
    otlp = Otlp(
        endpoint="https://mine", headers={"Authorization": SecretStr("Bearer mine")},
        compression="none", timeout=2.5, ca=Path("/ca.pem"),
    )  # fmt: skip
    found = settings(
        Telemetry(metrics_interval=15.0, trace_ratio=0.0, otlp=otlp),
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://theirs",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=theirs,x-team=a%20b",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_EXPORTER_OTLP_TIMEOUT="7",
        OTEL_EXPORTER_OTLP_CERTIFICATE="/their-ca.pem",
        OTEL_METRIC_EXPORT_INTERVAL="1000",
        OTEL_TRACES_SAMPLER="always_on",
    )
    traces = found.traces
    assert traces is not None
    assert traces.url == "https://mine/v1/traces"
    shown = {name: secret.get_secret_value() for name, secret in traces.headers.items()}
    assert shown == {"authorization": "Bearer mine", "x-team": "a b"}
    assert (traces.gzip, traces.timeout, traces.ca) == (False, 2.5, Path("/ca.pem"))
    assert (found.metrics_interval, found.trace_ratio) == (15.0, 0.0)


def test_the_standard_variables_are_followed() -> None:
    found = settings(
        OTEL_EXPORTER_OTLP_ENDPOINT=URL,
        OTEL_EXPORTER_OTLP_TIMEOUT="7",
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="3.5",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_METRICS_COMPRESSION="none",
        OTEL_EXPORTER_OTLP_METRICS_HEADERS="x=1",
        OTEL_EXPORTER_OTLP_CERTIFICATE="/ca",
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="/cert",
        OTEL_EXPORTER_OTLP_CLIENT_KEY="/key",
        OTEL_METRIC_EXPORT_INTERVAL="5000",
        OTEL_BSP_SCHEDULE_DELAY="250",
    )
    traces, metrics = found.signals
    assert (traces.timeout, metrics.timeout) == (3.5, 7.0)
    assert (traces.gzip, metrics.gzip) == (True, False)
    assert (list(traces.headers), list(metrics.headers)) == ([], ["x"])
    assert (traces.ca, traces.certificate, traces.key) == (Path("/ca"), Path("/cert"), Path("/key"))
    assert (found.metrics_interval, found.flush_interval) == (5.0, 0.25)


def test_signals_can_be_turned_off() -> None:
    assert settings(OTEL_EXPORTER_OTLP_ENDPOINT=URL, OTEL_SDK_DISABLED="true").signals == ()
    found = settings(OTEL_EXPORTER_OTLP_ENDPOINT=URL, OTEL_TRACES_EXPORTER="none")
    assert [signal.name for signal in found.signals] == ["metrics"]
    found = settings(
        Telemetry(otlp=Otlp(endpoint=URL)),
        OTEL_METRICS_EXPORTER="none",
        OTEL_TRACES_EXPORTER="otlp",
    )
    assert [signal.name for signal in found.signals] == ["traces"]


@pytest.mark.parametrize(
    ("sampler", "argument", "ratio"),
    [
        ("", "", TRACE_RATIO),
        ("always_on", "", 1.0),
        ("always_off", "", 0.0),
        ("parentbased_always_off", "", 0.0),
        ("traceidratio", "0.25", 0.25),
        ("parentbased_traceidratio", "0.5", 0.5),
        ("traceidratio", "", 1.0),
    ],
)
def test_samplers_set_the_ratio_of_healthy_runs(sampler: str, argument: str, ratio: float) -> None:
    found = settings(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
    assert found.trace_ratio == ratio


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "write http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json", "write http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "write otlp or none"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "write otlp or none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "write a positive number"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1", "write a positive number"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "write a positive number"),
        ("OTEL_BSP_SCHEDULE_DELAY", "nan", "write a positive number"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "deflate", "write gzip or none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "write name=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0d%0ab", "invalid characters"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://me:hunter2@host",
            "credentials go into headers",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://host/?key=hunter2",
            "credentials go into headers",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317", "write a URL"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "write always_on"),
    ],
)
def test_a_variable_that_cannot_be_followed_is_named_with_the_remedy_and_without_its_value(
    name: str, value: str, remedy: str
) -> None:
    with pytest.raises(ValueError) as caught:
        settings(**{"OTEL_EXPORTER_OTLP_ENDPOINT": URL, name: value})
    assert str(caught.value).startswith(name + ": ")
    assert remedy in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_wrong_ratio_names_its_variable() -> None:
    with pytest.raises(ValueError, match="OTEL_TRACES_SAMPLER_ARG: write a number from 0 to 1"):
        settings(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="2")


def test_headers_are_not_shown() -> None:
    found = settings(OTEL_EXPORTER_OTLP_ENDPOINT=URL, OTEL_EXPORTER_OTLP_HEADERS="a=hunter2")
    assert "hunter2" not in repr(found)


def test_the_ratio_is_taken_of_the_trace_id() -> None:
    low, high = "f" * 16 + "0" * 16, "0" * 16 + "f" * 16
    assert sampled(low, 0.01)
    assert not sampled(high, 0.99)
    assert sampled(high, 1.0)
    assert not sampled(low, 0.0)
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    sampler = TraceIdRatioBased(0.3)
    for number in range(0, 2**64, 2**57 - 1):
        theirs = sampler.should_sample(None, number, "x").decision.is_sampled()
        assert sampled(f"{number:032x}", 0.3) == theirs
