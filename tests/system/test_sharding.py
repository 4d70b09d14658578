"""Two daemons of one configuration, each with its part, also after a reload."""

from __future__ import annotations

import json
from typing import Any

HEAD = """\
service: {listen: 127.0.0.1:0}
telemetry: {listen: 127.0.0.1:0}
defaults: {interval: 1m}
checks:
"""


def config(count: int) -> str:
    return HEAD + "".join(
        f"  - {{name: c{n}, probe: tcp, address: '127.0.0.1:9'}}\n" for n in range(count)
    )


def test_each_runs_its_part_and_keeps_to_it(start: Any, probed: Any) -> None:
    daemons = [start(config(20), PROBED_SHARD=f"{index}/2") for index in (0, 1)]
    for count in (20, 40):
        found = []
        for index, daemon in enumerate(daemons):
            daemon.config.write_text(config(count))
            done = probed("reload", "--socket", str(daemon.control))
            assert done.returncode == 0, done.stderr
            listed = probed("list", "-c", str(daemon.config), "--shard", f"{index}/2", "-o", "json")
            here = set(daemon.checks())
            assert here == {check["check"] for check in json.loads(listed.stdout)["checks"]}
            found.append(here)
            assert (
                f'probed_shard_info{{shard="{index}",shards="2",replicas="1"}} 1' in daemon.scrape()
            )
        assert found[0] | found[1] == {f"c{n}" for n in range(count)}
        assert not found[0] & found[1]
    assert (
        json.loads(probed("status", "--socket", str(daemons[1].control), "-o", "json").stdout)[
            "shard"
        ]
        == "1/2"
    )


def test_a_shard_that_there_is_not_is_a_usage_error(probed: Any) -> None:
    done = probed("run", "--shard", "5/5")
    assert done.returncode == 3
    assert "there is no shard 5 of 5: they are 0 to 4" in done.stderr
