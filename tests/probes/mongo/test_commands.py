"""mongo on the command line: one check, `explain`, `--dump-shapes`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probed.registry import Registry
from probed.testing import CANARY
from probes.mongo import MongoProbe
from probes.mongo.reasons import MongoReason

Make = Callable[..., Any]
PROBED = str(Path(sys.executable).with_name("probed"))


@pytest.fixture
def probed(tmp_path: Path) -> Make:
    """Run `probed` on one check of the kind."""

    def run(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        check = {"name": "mongo-primary", "probe": "mongo", "timeout": "5s", **settings}
        path = tmp_path / "probed.yaml"
        path.write_text(json.dumps({"checks": [check]}))
        return subprocess.run(
            [PROBED, *arguments, "-c", str(path)],
            capture_output=True, text=True, check=False,
            env={"MONGO_URI": settings.pop("text", ""), "PASSWORD": CANARY, "NO_COLOR": "1"},
        )  # fmt: skip

    return run


def test_a_check_prints_phases_numbers_and_evidence(
    probed: Make, serve_mongo: Make, persona: Make
) -> None:
    server = serve_mongo(**persona("busy"), user=["probed", CANARY])
    login = {"username": "probed", "password": {"env": "PASSWORD"}}
    done = probed("check", "mongo-primary", "-v", host="127.0.0.1", port=server.port, **login)
    assert done.returncode == 1, done.stdout + done.stderr
    for shown in (
        "currentOp/longest", "mongodb.connection.count = current 40 connection",
        "mongo.long_running: An operation has run for 75 s.", "db.killOp(4711)",
    ):  # fmt: skip
        assert shown in done.stdout
    assert CANARY not in done.stdout + done.stderr


def test_a_mistake_in_the_string_has_its_place_and_shows_nothing(probed: Make) -> None:
    done = probed("config", "check", uri=f"mongodb://u:{CANARY}@db/?tlsCaFiel=1")
    assert done.returncode == 3
    assert "a secret may not stand in the file" in done.stderr
    assert CANARY not in done.stdout + done.stderr
    done = probed("config", "check", uri=f"mongodb://u:${{PASSWORD}}@db/?tlsCaFiel=/{'x' * 8}")
    assert done.returncode == 3
    assert "probed.yaml:1:" in done.stderr
    assert "checks[0].uri" in done.stderr
    assert "did you mean tlsCAFile" in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert "xxxxxxxx" not in done.stderr


def test_the_shapes_are_keys_and_types_without_values(
    probed: Make, serve_mongo: Make, persona: Make
) -> None:
    made = persona("busy")
    made["replies"]["serverStatus"]["host"] = CANARY
    made["script"] = [["shop", {"profile": 1}]]
    server = serve_mongo(**made)
    server.insert({"op": "query", "ns": CANARY, "command": {"find": CANARY}})
    settings = {"host": "127.0.0.1", "port": server.port, "databases": ["shop"]}
    done = probed("check", "mongo-primary", "--dump-shapes", **settings)
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout
    shapes = json.loads(done.stdout)["mongo-primary"][f"127.0.0.1:{server.port}"]
    status = shapes["serverStatus admin"]
    assert status["connections"]["current"] == "int"
    assert status["host"] == "str"
    assert shapes["profile shop"]["was"] == "int"
    assert "NoReplicationEnabled" not in done.stdout


def test_the_shapes_of_one_that_is_away(probed: Make, serve_mongo: Make) -> None:
    server = serve_mongo()
    server.stop()
    done = probed("check", "--all", "--dump-shapes", host="127.0.0.1", port=server.port)
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"mongo-primary": "connect.refused"}


@pytest.mark.parametrize("kind", sorted(Registry().kinds()))
def test_each_kind_is_explained(kind: str) -> None:
    done = subprocess.run([PROBED, "explain", kind], capture_output=True, text=True, check=True)
    probe = Registry().load(kind)
    assert done.stdout.startswith(f"{kind}: ")
    for reason in probe.reasons or ():
        assert f"  {reason.value}\n" in done.stdout
    if kind == "mongo":
        assert 'actions: ["serverStatus", "inprog", "replSetGetStatus"]' in done.stdout
        assert "  host  (text)\n" in done.stdout


def test_a_kind_that_is_none_is_not_explained() -> None:
    done = subprocess.run([PROBED, "explain", "mango"], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "did you mean 'mongo'" in done.stderr


def test_the_page_has_the_user_to_create_and_all_that_is_found_and_measured() -> None:
    page = (Path(__file__).parents[3] / "docs/mongo.md").read_text()
    role = [line.strip() for line in MongoProbe.notes.splitlines() if line.startswith("  ")]
    assert len(role) == 7
    assert [line for line in role if line not in page] == []
    assert [each.value for each in MongoReason if f"`{each.value}`" not in page] == []
    assert [each.name for each in MongoProbe.measures if f"`{each.name}`" not in page] == []
