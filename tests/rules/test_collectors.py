"""Configurations of the collectors. No collector runs here, so only their structure is tested."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parent.parent.parent / "config/otel-collector"
FILES = ("agent", "gateway")


def read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))


@pytest.mark.parametrize("name", FILES)
def test_what_is_used_is_declared_and_what_is_declared_is_used(name: str) -> None:
    config = read(name)
    service = config["service"]
    used = {"extensions": set(service["extensions"])}
    for pipeline in service["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            used.setdefault(part, set()).update(pipeline[part])
    for part, names in used.items():
        assert names == set(config[part]), part
    assert config.keys() == {*used, "service"}


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_taken_before_it_stands_on_disk(name: str) -> None:
    config = read(name)
    storage = config["extensions"]["file_storage"]
    assert storage["fsync"] is True
    # Batches of a processor are answered before they are kept.
    assert list(config["processors"]) == ["memory_limiter"]
    for exporter in config["exporters"].values():
        assert exporter["sending_queue"]["storage"] == "file_storage"
        assert exporter["sending_queue"]["block_on_overflow"] is False
        assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
        assert exporter["sending_queue"]["batch"]["max_size"] < 4 << 20  # what gRPC takes
    for pipeline in config["service"]["pipelines"].values():
        assert pipeline["processors"] == ["memory_limiter"]


def port(endpoint: str) -> str:
    return re.sub(r"^.*:(\d+)(/.*)?}?$", r"\1", endpoint.removesuffix("}"))


def test_each_sends_where_the_next_listens(project: Path) -> None:
    agent, gateway = read("agent"), read("gateway")
    listens = agent["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert listens.startswith("127.0.0.1:")
    example = (project / "config/probed.yaml").read_text()
    sends = re.search(r"# +endpoint: (\S+)", example)
    assert sends is not None
    assert sends[1] == f"http://{listens}"
    received = gateway["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    assert port(agent["exporters"]["otlp_grpc"]["endpoint"]) == port(received) == "4317"
    docs = (project / "docs/alerting.md").read_text()
    for named in (f"http://{listens}", port(listens), port(received)):
        assert named in docs
