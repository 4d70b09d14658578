"""Files that are made to hurt: each is refused at once, within little memory, by one clear error."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from probed.config import Config, ConfigError, load
from probed.config.source import Source
from probed.registry import Registry

Read = Callable[..., Config]
LOADERS = [yaml.CSafeLoader, yaml.SafeLoader]

MEASURED = """
import json, resource, sys, time
from pathlib import Path
from probed.config import ConfigError, load
from probed.registry import Registry
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
start = time.perf_counter()
try:
    load(Path(sys.argv[1]), Registry({}))
except ConfigError as error:
    took = time.perf_counter() - start
    # Not ru_maxrss: that counts what the parent held when it forked.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    print(json.dumps([str(error), took, peak >> 10]))
"""


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, Registry({}))
    assert len(caught.value.problems) == 1
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("content", [b"a" * 100, b"[" * 100, b"- a: {b: c}\n" * 8])
def test_refuses_a_file_of_100_mb(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(content * (1_000_000 // len(content)))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], check=True, capture_output=True, timeout=20
    )
    message, seconds, mebibytes = json.loads(done.stdout)
    assert message == f"{path}: is larger than 1024 KiB"
    assert seconds < 1
    assert mebibytes < 200


@pytest.mark.timing
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("start", ["[", "{", "- ", "? ", "{a: ", "[{", "a: &a [", "!!seq ["])
def test_refuses_what_is_nested_too_deep(start: str, loader: object) -> None:
    text = start * (1_000_000 // len(start))
    began = time.process_time()
    source = Source(text, "deep.yaml", loader=loader)
    assert not source.valid
    assert time.process_time() - began < 5
    assert len(source.drafts) == 1


@pytest.mark.parametrize("loader", LOADERS)
def test_refuses_a_billion_laughs(loader: object) -> None:
    lines = ["a0: &a0 [" + ", ".join(["lol"] * 10) + "]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    source = Source("\n".join(lines), "bomb.yaml", loader=loader)
    assert [draft.message for draft in source.drafts] == [
        "more than 200000 values, counting what aliases stand for"
    ]


def test_refuses_too_many_values() -> None:
    source = Source("checks: [" + "a," * 250_000 + "]", "many.yaml")
    assert source.drafts[0].message.startswith("more than 200000 values")


def test_refuses_too_many_checks(read: Read) -> None:
    with pytest.raises(ConfigError) as caught:
        read("checks:\n" + "- a\n" * 50_001)
    assert caught.value.problems[0].message == "must have at most 50000 checks"


@pytest.mark.timing
@pytest.mark.parametrize("text", ["\n%TAG !a! b" * 90_000, "a: b\n...\n" + "%TAG !a! b\n" * 90_000])
def test_refuses_many_directives(text: str) -> None:
    began = time.process_time()
    assert Source(text, "x").drafts[0].message == "has too many lines that begin with %"
    assert time.process_time() - began < 5


@pytest.mark.timing
@pytest.mark.parametrize(
    "text",
    ["&a " * 300_000, "# c\n" * 250_000, "\n" * 1_000_000, "a" * 1_000_000, '"' + "\\x41" * 250_000 + '"',
     "'" + "\n" * 1_000_000, "a: |\n" + " b\n" * 300_000, ", " * 500_000, "*a " * 300_000,
     "? a\n" * 200_000, "- - " * 200_000, "!" * 1_000_000, "---\n" * 200_000],
)  # fmt: skip
def test_ends_soon(text: str) -> None:
    began = time.process_time()
    Source(text, "x")
    assert time.process_time() - began < 10


@pytest.mark.timing
def test_prints_a_hundred_problems_and_counts_the_others(read: Read) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read("checks:\n" + "".join(f"- {{name: c{n}, prob: x}}\n" for n in range(9_000)))
    text = str(caught.value)
    assert text.endswith("\nand 8900 more")
    assert text.count("probed.yaml:") == 100
    assert time.process_time() - began < 5


def test_long_chains_of_checks_are_followed_to_their_end(read: Read) -> None:
    count = 5_000
    text = "checks:\n" + "".join(
        f"- {{name: c{n}, probe: line, address: h:1, depends_on: [c{(n + 1) % count}]}}\n"
        for n in range(count)
    )
    with pytest.raises(ConfigError, match=r"itself: c0 -> c1 -> .* -> c9 -> … -> c0;"):
        read(text)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == "cannot be read: No such file or directory"


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "is a directory"


def test_a_device() -> None:
    assert refusal(Path("/dev/zero")) == "is not a regular file"


def test_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == "is not a regular file"


def test_a_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert refusal(tmp_path / "s").startswith("cannot be read: ")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "closed.yaml"
    path.touch(0o000)
    before = os.geteuid()
    if before == 0:  # root may read everything
        os.seteuid(65534)
    try:
        assert refusal(path) == "cannot be read: Permission denied"
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: \xff\xfe", "is not UTF-8 text: byte 0xff in line 2"),
        ("a: é".encode("latin-1"), "is not UTF-8 text: byte 0xe9 in line 1"),
        ("checks: []".encode("utf-16"), "is not UTF-8 text: byte 0xff in line 1"),
    ],
)
def test_what_is_not_utf_8(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    assert refusal(path) == message


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\ufffe"])
def test_characters_that_no_yaml_file_may_hold(tmp_path: Path, character: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"# é\na: b{character}c")
    with pytest.raises(ConfigError) as caught:
        load(path, Registry({}))
    assert caught.value.problems[0].line == (
        f"{path}:2:5: the character U+{ord(character):04X} may not stand in a YAML file"
    )


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfchecks: [{name: a, probe: line, address: 'h:1'}]\r\n")
    assert load(path, registry).checks[0].name == "a"


@pytest.mark.parametrize("loader", LOADERS)
def test_half_a_character_is_refused(loader: object) -> None:
    assert Source('a: "\\ud800"', "x", loader=loader).drafts != []


def test_an_excerpt_is_one_safe_line(read: Read) -> None:
    with pytest.raises(ConfigError) as caught:
        read("cheks: \u202eevil\u2066\nchecks: []\n")
    assert "\u202e" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        read("checks: [{name: '" + "é" * 500 + "', probe: line, address: \u202e}]")
    assert all(len(line) < 250 for line in str(caught.value).splitlines())
    assert "\\u202e" not in str(caught.value).splitlines()[0]
