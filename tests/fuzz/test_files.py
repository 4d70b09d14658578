"""What stands on disk, and who knows since when: configurations, the spool, the state, requests."""

from __future__ import annotations

import os
import time
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probed.config import Config, ConfigError, loads
from probed.control.server import ControlServer
from probed.registry import Registry
from probed.state import CheckState
from probed.store.checks import SavedCheck, Snapshot, Store
from probed.telemetry.spool_records import SEGMENT, Encoded, pack
from probed.telemetry.spool_segments import Segments

FUZZ = settings.get_profile(os.environ.get("PROBED_FUZZ", "suite"))
REGISTRY = Registry()
GOOD = """\
service: {environment: test, listen: 127.0.0.1:0, resolvers: [127.0.0.1:53]}
telemetry: {listen: 127.0.0.1:0, otlp: {endpoint: http://127.0.0.1:4318, headers: {a: {env: SECRET}}}}
defaults: {interval: 30s, gateway: {latency: {degraded: 1s}}}
templates:
  web: &w {probe: gateway, url: "https://example.com/", headers: {Authorization: {env: SECRET}}}
checks:
  - {name: a, use: web, latency: {failed: 3s}}
  - {name: b, probe: tcp, address: "h:1", depends_on: [a], tags: [x]}
  - name: c
    probe: dns
    query: ${NAME:-example.com}
    expect: [127.0.0.1]
"""
SECRET = "hunter2-hunter2"
TOKENS = ["{", "}", "[", "]", ":", "- ", "\n", "  ", "&a", "*a", "*w", "<<: ", "!!python/object:x ", "!!int ", "'", '"', "|",
          ">", "#", "%YAML 9.9", "---\n", "...\n", "\t", "\x00", "\ufeff", "\u2028", "${", "${X", "${SECRET}", "{env: ",
          "null", "~", "1e999", "0x7f", "include: ['*.yaml']\n", "use: web", "name: a", "- {name: a}\n", "?", ", ,", "\ud7ff",
          "interval: 5", "timeout: 99d", "url: 'http://\\x00'", "depends_on: [c]", "templates: {x: {use: x}}\n"]  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, 20), st.one_of(st.sampled_from(TOKENS), st.text(max_size=5))),
    max_size=6,
)  # fmt: skip


def loaded(text: str) -> None:
    """It is a configuration, or one error that says where; never long, never with a secret."""
    begun = time.process_time()
    try:
        config = loads(text, REGISTRY, environ={"SECRET": SECRET})
    except ConfigError as error:
        said = str(error)
        assert said.startswith("probed.yaml:"), said
        assert SECRET not in said
        assert "\x1b" not in said
    else:
        assert isinstance(config, Config)
        assert SECRET not in repr(config)
    assert time.process_time() - begun < 2


@settings(FUZZ)
@given(edits=EDITS)
@example([])
@example([(0, 0, "\x00")])
def test_configurations_that_were_broken(edits: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for at, length, new in edits:
        text = text[:at] + new + text[at + length :]
    loaded(text)


@settings(FUZZ)
@given(
    text=st.one_of(
        st.text(max_size=200), st.lists(st.sampled_from(TOKENS), max_size=30).map("".join)
    )
)
def test_texts_that_are_no_configuration(text: str) -> None:
    loaded(text)


@settings(FUZZ)
@given(pieces=st.lists(st.text("${}:-?ab\x00\n'", max_size=12), max_size=4))
def test_variables(pieces: list[str]) -> None:
    value = "${".join(pieces).replace("'", "''")
    loaded(f"checks: [{{name: a, probe: dns, query: '{value}'}}]\n")


BODIES = [b"first", b"", b"\xff\xfePR" * 3, b"x" * 500]
WHOLE = SEGMENT + b"".join(pack(Encoded("traces", body, 1, 5.0)) for body in BODIES)
CUTS = st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 255)), max_size=6)


@settings(FUZZ)
@given(cuts=CUTS, end=st.integers(0, len(WHOLE)), cursor=st.binary(max_size=40))
@example([], len(WHOLE), b"probed-cursor/1 1 99999999\n")
def test_segments_that_were_damaged(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int]], end: int, cursor: bytes
) -> None:
    """Nothing is invented, and what stands before the damage is there."""
    data = bytearray(WHOLE[:end])
    for at, value in cuts:
        if at < len(data):
            data[at] = value
    folder = tmp_path_factory.mktemp("lane")
    (folder / "00000001.otlp").write_bytes(data)
    (folder / "cursor").write_bytes(cursor)
    segments = Segments(folder, 1 << 20)
    found = []
    while (head := segments.head(0.0)) is not None:
        found.append(head.body)
        segments.sent()
    rest = iter(BODIES)
    assert all(body in rest for body in found), found
    segments.append([Encoded("metrics", b"new", 1, 6.0)])
    assert segments.head(0.0) is not None
    segments.close()


@pytest.mark.anyio
@settings(FUZZ)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 16_383), st.binary(min_size=1, max_size=64)), max_size=6
    ),
    end=st.integers(0, 20_000),
)
async def test_states_that_were_damaged(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, bytes]], end: int
) -> None:
    """The daemon begins with what can be read, or anew; and saves."""
    folder = tmp_path_factory.mktemp("state")
    store = Store(folder)
    await store.load(1e9)
    kept = {
        f"c{n}": SavedCheck("tcp", "h:1", CheckState(last_run=1e9), {"n": n}) for n in range(40)
    }
    assert await store.save(Snapshot(kept), 1e9)
    store.close()

    def damage() -> None:
        (path,) = folder.glob("state.db")
        data = bytearray(path.read_bytes()[: max(end, 1)])
        for at, new in cuts:
            data[at : at + len(new)] = new
        path.write_bytes(data)

    await anyio.to_thread.run_sync(damage)
    again = Store(folder)
    found = await again.load(1e9)
    assert set(found) <= set(kept)
    assert await again.save(Snapshot({"x": SavedCheck("tcp", "h:1")}), 1e9)
    again.close()


@pytest.mark.anyio
@settings(FUZZ)
@given(
    line=st.one_of(
        st.binary(max_size=100),
        st.sampled_from([b'{"command": 1}', b'{"command": "x"}', b"[" * 5000]),
    )
)
async def test_requests_on_the_control_socket(line: bytes) -> None:
    server: Any = ControlServer.__new__(ControlServer)
    server._handlers = {}
    assert "unknown command; the commands are" in (await server._answer(line))["error"]
