"""The manifests: each overlay renders, is valid for old and new Kubernetes, and gives nothing away."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from probed.config import loads
from probed.registry import Registry
from tests.programs import PROBED, STRICT, environment

pytestmark = pytest.mark.debian("kubernetes-client")
OVERLAYS = ("standalone", "shards", "sidecar")
VERSIONS = ("1.29.0", "1.37.0")
"""The first that has native sidecars, and the newest that is known."""


@pytest.fixture(scope="module")
def rendered(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rendered")
    found = {}
    for name in OVERLAYS:
        path = folder / f"{name}.yaml"
        done = subprocess.run(
            ["kubectl", "kustomize", str(project / "config/kubernetes/overlays" / name)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        path.write_text(done.stdout)
        found[name] = path
    return found


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def pods(path: Path) -> Iterator[dict[str, Any]]:
    for one in documents(path):
        if "template" in one.get("spec", {}):
            yield one["spec"]["template"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_it_is_valid_to_the_letter(rendered: dict[str, Path], name: str, version: str) -> None:
    program = str(Path(sys.executable).with_name("kubernetes-validate"))
    done = subprocess.run(
        [program, "-k", version, "--strict", str(rendered[name])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", OVERLAYS)
def test_nothing_runs_as_root_writes_its_image_or_has_a_token(
    rendered: dict[str, Path], name: str
) -> None:
    found = list(pods(rendered[name]))
    assert found
    for pod in found:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "probed"
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert "cpu" not in container["resources"]["limits"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_it_says_is_what_the_daemon_does(rendered: dict[str, Path], name: str) -> None:
    """The configuration is valid, listens where the manifest looks, and writes where it may."""
    everything = documents(rendered[name])
    (settings,) = [one for one in everything if one["kind"] == "ConfigMap"]
    config = loads(settings["data"]["probed.yaml"], Registry(), environ={})
    (pod,) = pods(rendered[name])
    spec = pod["spec"]
    (container,) = [
        one
        for one in [*spec["containers"], *spec.get("initContainers", [])]
        if one["name"] == "probed"
    ]
    (port,) = container["ports"]
    assert config.telemetry.listen == f"0.0.0.0:{port['containerPort']}"
    assert config.service.listen.startswith("127.0.0.1:"), "the page is not for the network"
    paths = {probe: container[probe]["httpGet"]["path"] for probe in
             ("startupProbe", "readinessProbe", "livenessProbe")}  # fmt: skip
    assert paths == {
        "startupProbe": "/readyz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/livez",
    }
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert str(config.service.state_dir) in mounts
    assert (
        str(config.service.control)
        == {e["name"]: e.get("value") for e in container["env"]}["PROBED_CONTROL"]
    )
    assert str(config.service.control and config.service.control.parent) in mounts
    names = {volume["name"] for volume in spec["volumes"]}
    claims = {
        claim["metadata"]["name"]
        for one in everything
        for claim in one.get("spec", {}).get("volumeClaimTemplates", [])
    }
    assert {mount["name"] for mount in mounts.values()} <= names | claims


def test_a_sidecar_starts_first_and_ends_last(rendered: dict[str, Path]) -> None:
    (pod,) = pods(rendered["sidecar"])
    (sidecar,) = pod["spec"]["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    drain = next(one for one in pod["spec"]["containers"] if one["name"] == "drain")
    assert drain["args"] == ["drain", "--at-end"]
    assert not [one for one in documents(rendered["sidecar"]) if one["kind"] == "NetworkPolicy"]


def test_as_many_shards_as_pods(rendered: dict[str, Path]) -> None:
    (found,) = [one for one in documents(rendered["shards"]) if one["kind"] == "StatefulSet"]
    (container,) = found["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert env["PROBED_SHARD"] == f"auto/{found['spec']['replicas']}"


@pytest.mark.parametrize("name", ["standalone", "shards"])
def test_the_metadata_address_cannot_be_reached(rendered: dict[str, Path], name: str) -> None:
    (policy,) = [one for one in documents(rendered[name]) if one["kind"] == "NetworkPolicy"]
    blocks = [
        to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule["to"] if "ipBlock" in to
    ]
    assert all(block["except"] for block in blocks)
    (pod,) = pods(rendered[name])
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_the_component_finds_every_pod(
    project: Path, tmp_path: Path, rendered: dict[str, Path]
) -> None:
    component = project / "config/kubernetes/components/podmonitor/podmonitor.yaml"
    monitor = yaml.safe_load(component.read_text())
    wanted = monitor["spec"]["selector"]["matchLabels"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for path in rendered.values():
        (pod,) = pods(path)
        assert wanted.items() <= pod["metadata"]["labels"].items()
        ports = [p["name"] for c in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
                 for p in c.get("ports", [])]  # fmt: skip
        assert endpoint["port"] in ports


def test_a_container_beside_it_drains_when_all_are_stopped(start: Any) -> None:
    daemon = start(
        "service: {listen: '127.0.0.1:0'}\ntelemetry: {listen: '127.0.0.1:0'}\n"
        "checks: [{name: gone, probe: tcp, address: '127.0.0.1:9'}]\n"
    )
    with subprocess.Popen(
        [PROBED, "drain", "--at-end"], stdout=subprocess.PIPE, text=True,
        env=environment(**STRICT, PROBED_CONTROL=str(daemon.control)),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting for SIGTERM\n"
        assert daemon.total("probed_scheduler_drained") == 0
        process.send_signal(signal.SIGTERM)
        assert "drained: no checks are run" in process.stdout.read()
        assert process.wait(10) == 0
    assert daemon.total("probed_scheduler_drained") == 1
