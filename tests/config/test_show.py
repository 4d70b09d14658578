import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field

from probed import HostPort, Probe, Run
from probed.config import Check, Config, ConfigError, find_config, loads
from probed.config.schema import schema
from probed.config.show import show
from probed.registry import Registry
from probed.text.redact import Redactor

Read = Callable[..., Config]
SMALL = "checks: [{name: a, probe: line, address: 'h:1'}]"


class Note(Probe):
    kind = "note"
    address: HostPort = HostPort("h", 1)
    note: str = ""
    more: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    async def probe(self, run: Run) -> None:
        """Ask nothing."""


def test_shows_what_is_in_force(read: Read) -> None:
    text = show(read("defaults: {interval: 90s}\n" + SMALL))
    assert (
        text
        == """\
service:
  name: probed
  access:
    anybody: false
  listen: 127.0.0.1:9611
  watch: false
telemetry:
  listen: 127.0.0.1:9610
  phase_histogram: false
  spool:
    fail: 128MiB
    ok: 64MiB
    metrics: 32MiB
    age: 1d
checks:
- name: a
  probe: line
  address: h:1
  slow: 2s
  limit: 4KiB
  interval: 1m30s
  timeout: 10s
  confirm: 1
  fail_after: 2
  recover_after: 2
  severity: P2
  objective: 0.99
  enabled: true
  flap_damping: true
  reference: false
"""
    )


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=20) | st.sampled_from(
    [
        "no",
        "012",
        "1e3",
        "1:30",
        "~",
        "",
        " a ",
        "a: b",
        "# c",
        "- x",
        "${A}",
        "$$",
        "\n",
        "a\nb\n",
        "<<",
    ]
)


@given(TEXT, st.dictionaries(TEXT, st.lists(TEXT, max_size=2), max_size=2))
def test_any_text_comes_back(note: str, more: dict[str, list[str]]) -> None:
    probe = Note(note=note, more={key: tuple(items) for key, items in more.items()})
    plain = Redactor()
    shown = show(Config(checks=(Check("a", probe),), redactor=plain))
    if any(plain.redact(text) != text for text in (note, *more, *chain(*more.values()))):
        return
    loaded = loads(shown, Registry({"note": Note}), environ={})
    found = loaded.checks[0].probe
    assert isinstance(found, Note)
    if "https://" not in note:
        assert found.note == note


def test_the_timeout_is_never_longer_than_a_short_interval(read: Read) -> None:
    config = read("checks: [{name: a, probe: line, address: 'h:1', interval: 5s}]")
    assert config.checks[0].timeout == 5.0


def test_the_schema_is_one(registry: Registry) -> None:
    made = schema(registry)
    Draft202012Validator.check_schema(made)
    line = made["$defs"]["Line"]
    assert line["description"] == "Read one line."
    assert line["properties"]["address"]["description"] == "Whom to ask."
    assert line["properties"]["slow"]["default"] == "2s"
    assert line["additionalProperties"] is False
    assert made["$defs"]["CheckSettings"]["properties"]["interval"]["description"]


def test_the_schema_of_no_kinds_is_one() -> None:
    Draft202012Validator.check_schema(schema(Registry({})))


def test_a_kind_with_a_setting_that_every_check_has_is_refused() -> None:
    class Odd(Note):
        kind = "odd"
        timeout: int = 1

    with pytest.raises(
        ConfigError, match="the kind has a setting named timeout, which every check has"
    ):
        loads("checks: [{name: a, probe: odd}]", Registry({"odd": Odd}), environ={})


def test_finds_the_configuration(tmp_path: Path) -> None:
    named = {"PROBED_CONFIG": "/named/probed.yaml"}
    assert find_config(Path("/mine.yaml"), named, tmp_path) == Path("/mine.yaml")
    assert find_config(None, named, tmp_path) == Path("/named/probed.yaml")
    (tmp_path / "probed.yaml").touch()
    assert find_config(None, {}, tmp_path) == tmp_path / "probed.yaml"
    assert find_config(None, {"PROBED_CONFIG": ""}, tmp_path) == tmp_path / "probed.yaml"


@pytest.mark.skipif(Path("/etc/probed/probed.yaml").exists(), reason="this machine has one")
def test_says_where_a_configuration_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(None, {}, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/probed.yaml: no such file, and no /etc/probed/probed.yaml; "
        "name one by -c FILE or PROBED_CONFIG"
    )


def test_loads_where_libyaml_is_missing() -> None:
    code = (
        "import sys; sys.modules['yaml._yaml'] = sys.modules['yaml.cyaml'] = None\n"
        "import yaml; assert not yaml.__with_libyaml__\n"
        "from probed.config import loads; from probed.config.show import show; from probed.registry import Registry\n"
        "import runpy; Line = runpy.run_path(sys.argv[1])['Line']\n"
        "registry = Registry({'line': Line})\n"
        "print(show(loads(show(loads(sys.argv[2], registry)), registry)))\n"
    )
    conftest = Path(__file__).with_name("conftest.py")
    done = subprocess.run(
        [sys.executable, "-c", code, str(conftest), SMALL],
        check=True,
        capture_output=True,
        text=True,
    )
    assert yaml.safe_load(done.stdout)["checks"][0]["address"] == "h:1"


def test_nothing_heavy_is_loaded_for_it() -> None:
    code = (
        "import sys, probed.config, probed.registry\n"
        "heavy = {'jsonschema', 'rich', 'opentelemetry', 'dns', 'httpx2', 'starlette', 'uvicorn', 'click'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
