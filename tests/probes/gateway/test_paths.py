"""Paths find what they say, in any JSON, in bounded time."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from probes.gateway.paths import FOUND_LIMIT, JsonPath, MemberPath, Path, SinglePath, TooMany

DOCUMENT = {
    "status": "ok",
    "queue": {"depth": 7, "my name": 1, "it's": 2, 'say "x"': 3, "": 4, "*": 5, "é": 6},
    "nodes": [{"state": "up", "load": 0.5}, {"state": "down"}, {"load": None}],
    "grid": [[1, 2], [3], []],
    "0": "zero",
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [DOCUMENT]),
        ("$.status", ["ok"]),
        ("$.queue.depth", [7]),
        ("$['queue']['depth']", [7]),
        ('$["queue"]["my name"]', [1]),
        ("""$.queue["it's"]""", [2]),
        ("""$.queue['say "x"']""", [3]),
        ("$.queue['']", [4]),
        ("$.queue['*']", [5]),
        ("$.queue.é", [6]),
        ("$['0']", ["zero"]),
        ("$[0]", []),
        ("$.nodes[0].state", ["up"]),
        ("$.nodes[-1].load", [None]),
        ("$.nodes[3]", []),
        ("$.nodes[-4]", []),
        ("$.nodes[*].state", ["up", "down"]),
        ("$.nodes.*.load", [0.5, None]),
        ("$.nodes.state", []),
        ("$.grid[*][*]", [1, 2, 3]),
        ("$.grid[2][*]", []),
        ("$.queue.*", [7, 1, 2, 3, 4, 5, 6]),
        ("$.status.length", []),
        ("$.status[0]", []),
        ("$.nothing.here", []),
    ],
)
def test_it_finds_what_is_there(path: str, found: list[Any]) -> None:
    assert JsonPath(path).find(DOCUMENT) == found
    assert JsonPath(path).single is ("[*]" not in path and ".*" not in path)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("", "a path begins with $"),
        ("status", "a path begins with $"),
        (".status", "a path begins with $"),
        ("$..status", "`..` is not supported"),
        ("$.a[?@.b == 1]", "filters are not supported"),
        ("$.a-b", "write ['a-b'] for a name with a hyphen"),
        ("$.a.", "cannot be read from character 4 on"),
        ("$a", "cannot be read from character 2 on"),
        ("$.a[0:2]", "cannot be read from character 4 on"),
        ("$.a['b','c']", "cannot be read from character 4 on"),
        ("$.a[01]", "cannot be read from character 4 on"),
        ("$.a[-0]", "cannot be read from character 4 on"),
        ("$.a[1e3]", "cannot be read from character 4 on"),
        ("$.a[12345678901]", "cannot be read from character 4 on"),
        ("$.a['b", "cannot be read from character 4 on"),
        (r"$['a\'b']", "cannot be read from character 2 on"),
        ("$['a\nb']", "cannot be read from character 2 on"),
        ("$.0", "cannot be read from character 2 on"),
        ("$ .a", "cannot be read from character 2 on"),
        ("$" + ".a" * 300, "a path has at most 500 characters"),
    ],
)
def test_what_is_no_path_is_refused_with_the_place(path: str, error: str) -> None:
    with pytest.raises(ValueError) as caught:
        JsonPath(path)
    assert str(caught.value).startswith(error)


def test_a_place_for_one_value_takes_no_star_and_one_in_a_component_no_dollar() -> None:
    single, member = TypeAdapter(SinglePath), TypeAdapter(MemberPath)
    assert single.validate_python("$.a[0]") == JsonPath("$.a[0]")
    assert member.validate_python("meta.name") == JsonPath("$.meta.name")
    assert member.validate_python("['my name']") == JsonPath("$['my name']")
    assert member.dump_python(JsonPath("$.meta.name")) == "meta.name"
    assert member.dump_python(JsonPath("$['my name']")) == "['my name']"
    for adapter, text, message in (
        (single, "$.a[*]", "one value is meant"),
        (member, "$.name", "write it without \\$"),
        (member, "a.*", "one value is meant"),
        (member, 5, "write a path as text"),
        (TypeAdapter(Path), None, "write a path as text"),
    ):
        with pytest.raises(ValidationError, match=message):
            adapter.validate_python(text)


# --- any text, any JSON


def read(text: str) -> JsonPath | str:
    """The path, or why it is none."""
    try:
        return JsonPath(text)
    except ValueError as why:
        return str(why)


_NAMES = st.sampled_from(["a", "b", "my name", "é", "0", "*", ""])
_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=30,
)
_STEPS = st.one_of(
    st.sampled_from(["a", "b"]).map(".{}".format),
    _NAMES.map("['{}']".format),
    _NAMES.map('["{}"]'.format),
    st.integers(-3, 3).map("[{}]".format),
    st.sampled_from([".*", "[*]"]),
)


@settings(max_examples=1000, deadline=None, database=None)
@given(text=st.text(st.sampled_from("$.[]*'\"ab-01 \\\n?@:,é")) | st.text(), document=_DOCUMENTS)
def test_any_text_is_a_path_or_one_clear_error(text: str, document: Any) -> None:
    path = read(text) if not text.startswith("$") else read("$" + text.lstrip("$"))
    if isinstance(path, str):
        assert path
        assert "\n" not in path
        return
    assert len(path.find(document)) <= FOUND_LIMIT
    assert JsonPath(str(path)) == path


@settings(max_examples=1000, deadline=None, database=None)
@given(steps=st.lists(_STEPS, max_size=4), document=_DOCUMENTS)
def test_it_finds_each_value_that_can_be_walked_to(steps: list[str], document: Any) -> None:
    def walk(value: Any, left: list[str]) -> list[Any]:
        if not left:
            return [value]
        step, rest = left[0], left[1:]
        if step in {".*", "[*]"}:
            children = value.values() if isinstance(value, dict) else value
            inside = list(children) if isinstance(value, dict | list) else []
        else:
            key: Any = step[1:] if step.startswith(".") else step[1:-1]
            key = (
                int(key) if step.startswith("[") and key[:1] not in {"'", '"'} else key.strip("'\"")
            )
            try:
                inside = [value[key]] if isinstance(value, dict | list) else []
            except (KeyError, IndexError, TypeError):
                inside = []
        return [found for each in inside for found in walk(each, rest)]

    wanted = walk(document, steps)
    # NaN is not equal to itself: the very same values are wanted.
    assert list(map(id, JsonPath("$" + "".join(steps)).find(document))) == list(map(id, wanted))


def test_a_path_that_meets_too_many_values_says_so() -> None:
    full = {"a": [{"b": n} for n in range(FOUND_LIMIT)]}
    assert len(JsonPath("$.a[*].b").find(full)) == FOUND_LIMIT
    full["a"].append({})
    with pytest.raises(TooMany):
        JsonPath("$.a[*].b").find(full)
    assert JsonPath("$.a[-1]").find(full) == [{}]


@pytest.mark.timing
def test_no_document_takes_long() -> None:
    """A hundred times what it should take on a slow machine."""
    wide = json.loads("[" + ",".join(["[" + ",".join("0" * 999) + "]"] * 999) + "]")
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    began = time.process_time()
    with pytest.raises(TooMany):
        JsonPath("$" + "[*]" * 100).find(wide)
    assert JsonPath("$" + "[*]" * 160).find(deep)
    assert time.process_time() - began < 1
    while deep:
        deep = deep[0]
