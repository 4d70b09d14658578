"""Shards: balanced, steady, and the same wherever they are computed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from probed.config import loads
from probed.engine.shard import Shard, cut, parse
from probed.registry import Registry

NAMES = [f"check-{number}" for number in range(10_000)]


def homes(total: int, replicas: int = 1) -> dict[str, set[int]]:
    shards = [Shard(index, total, replicas) for index in range(total)]
    return {name: {shard.index for shard in shards if shard.has(name)} for name in NAMES}


@pytest.mark.parametrize("replicas", [1, 2])
def test_five_shards_of_ten_thousand_checks_are_balanced(replicas: int) -> None:
    found = homes(5, replicas)
    assert {len(where) for where in found.values()} == {replicas}
    load = Counter(index for where in found.values() for index in where)
    even = len(NAMES) * replicas / 5
    assert all(abs(count - even) <= 0.05 * even for count in load.values()), load


def test_from_four_to_five_a_fifth_moves_and_only_to_the_new_one() -> None:
    before, after = homes(4), homes(5)
    moved = [name for name in NAMES if before[name] != after[name]]
    assert 0.18 < len(moved) / len(NAMES) < 0.22
    assert all(after[name] == {4} for name in moved)


def test_it_is_the_same_in_every_process() -> None:
    code = "from probed.engine.shard import Shard; print([Shard(2, 5).has(f'check-{n}') for n in range(200)])"
    said = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert said == {f"{[Shard(2, 5).has(name) for name in NAMES[:200]]}\n"}


def test_one_shard_of_one_has_all() -> None:
    assert all(Shard(0, 1).has(name) for name in NAMES[:100])


@pytest.mark.parametrize(
    ("text", "environ", "host", "expected"),
    [
        ("2/5", {}, "x", Shard(2, 5)),
        ("auto/5", {}, "probed-3", Shard(3, 5)),
        ("auto/5", {"PROBED_POD_INDEX": "4"}, "probed-3", Shard(4, 5)),
    ],
)
def test_it_is_told_by_who_we_are(text: str, environ: Any, host: str, expected: Shard) -> None:
    assert parse(text, environ, host) == expected


@pytest.mark.parametrize(
    ("text", "environ", "replicas", "why"),
    [
        ("5/5", {}, 1, "there is no shard 5 of 5: they are 0 to 4"),
        ("-1/5", {}, 1, "there is no shard -1 of 5"),
        ("/5", {}, 1, "there is no shard \\? of 5"),
        ("2", {}, 1, "'2': write the shard as INDEX/TOTAL"),
        ("0/0", {}, 1, "write the shard as INDEX/TOTAL"),
        ("0/1001", {}, 1, "with up to 1000"),
        ("auto/5", {}, 1, "set PROBED_POD_INDEX"),
        ("auto/5", {"PROBED_POD_INDEX": "seven"}, 1, "there is no shard seven of 5"),
        ("0/2", {}, 3, "3 replicas of 2 shards: write 1 to 2"),
    ],
)
def test_what_cannot_be(text: str, environ: Any, replicas: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text, environ, "host", replicas=replicas)


def test_references_are_everywhere_and_parents_elsewhere_are_not_waited_for() -> None:
    checks = "".join(
        f"  - {{name: c{n}, probe: tcp, address: 'a.test:{n + 1}', depends_on: [parent]}}\n"
        for n in range(20)
    )
    head = (
        "checks:\n  - {name: out, probe: tcp, address: 'a.test:99', reference: true}\n"
        "  - {name: parent, probe: tcp, address: 'a.test:100'}\n"
    )
    config = loads(head + checks, Registry(), environ={})
    assert cut(config, None) is config
    parts = [cut(config, Shard(index, 3)) for index in range(3)]
    names = Counter(check.name for part in parts for check in part.checks)
    assert names.pop("out") == 3
    assert set(names.values()) == {1}
    assert len(names) == 21
    for part in parts:
        here = {check.name for check in part.checks}
        waiting = {check.depends_on for check in part.checks if check.name.startswith("c")}
        assert waiting == ({("parent",)} if "parent" in here else {()})
