from __future__ import annotations

import logging
import uuid
from pathlib import Path

import pytest
from opentelemetry.semconv.schemas import Schemas

from probed.config.service import Service
from probed.telemetry.conventions import SCHEMA_URL
from probed.telemetry.resource import INSTANCE_FILE, instance_id, resource_attributes
from probed.telemetry.sdk import sdk_resource


def attributes(service: Service | None = None, **environ: str) -> dict[str, str]:
    return resource_attributes(service or Service(), environ, version="1.2", instance="abc")


def test_without_settings_the_resource_names_the_daemon() -> None:
    assert attributes() == {
        "service.name": "probed", "service.version": "1.2", "service.instance.id": "abc",
    }  # fmt: skip


def test_the_configuration_goes_before_the_environment() -> None:
    environ = {
        "OTEL_SERVICE_NAME": "by-name",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=by-list,deployment.environment.name=env,"
        "probed.location=here,host.name=a%20b",
    }
    assert attributes(**environ) == {
        "service.name": "by-name", "service.version": "1.2", "service.instance.id": "abc",
        "deployment.environment.name": "env", "probed.location": "here", "host.name": "a b",
    }  # fmt: skip
    service = Service(name="mine", environment="prod", location="paris")
    merged = attributes(service, **environ)
    assert merged["service.name"] == "mine"
    assert merged["deployment.environment.name"] == "prod"
    assert merged["probed.location"] == "paris"
    assert merged["host.name"] == "a b"


def test_the_list_of_attributes_may_name_the_service_too() -> None:
    assert attributes(OTEL_RESOURCE_ATTRIBUTES="service.name=by-list")["service.name"] == "by-list"


def test_what_is_no_attribute_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = attributes(OTEL_RESOURCE_ATTRIBUTES="secret-thing, a=1,,=2")
    assert found["a"] == "1"
    assert len(caplog.records) == 2
    assert "secret-thing" not in caplog.text


def test_a_variable_that_is_not_utf8_is_taken_as_far_as_it_can_be() -> None:
    assert attributes(OTEL_SERVICE_NAME="a\udcff")["service.name"] == "a?"


def test_the_sdk_is_named_and_the_schema_is_that_of_the_installed_conventions() -> None:
    resource = sdk_resource({"service.name": "x"})
    assert resource.attributes["telemetry.sdk.language"] == "python"
    assert resource.attributes["service.name"] == "x"
    assert resource.schema_url == SCHEMA_URL == Schemas.V1_44_0.value


def test_the_instance_keeps_its_id(tmp_path: Path) -> None:
    first = instance_id(tmp_path)
    assert str(uuid.UUID(first)) == first
    assert instance_id(tmp_path) == first
    file = tmp_path / INSTANCE_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [INSTANCE_FILE]


@pytest.mark.parametrize("content", [b"", b"not a uuid", b"\xff\xfe", b"1" * 10_000])
def test_a_damaged_id_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / INSTANCE_FILE).write_bytes(content)
    made = instance_id(tmp_path)
    assert instance_id(tmp_path) == made


def test_where_nothing_can_be_kept_the_id_is_random_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = tmp_path / "missing"
    with caplog.at_level(logging.WARNING):
        assert instance_id(missing) != instance_id(missing)
    assert "cannot be written" in caplog.text
    assert instance_id(None) != instance_id(None)


def test_a_directory_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / INSTANCE_FILE).mkdir()
    assert uuid.UUID(instance_id(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [INSTANCE_FILE]
