"""`templates`, `use`, `tags` and defaults by kind: what a check is put together from."""

import time
from collections.abc import Callable

import pytest

from probed import Probe, Run, SecretStr
from probed.config import Check, Config, ConfigError, loads
from probed.registry import Registry
from tests.config.conftest import Line, Site

Read = Callable[..., Config]


def one(config: Config, name: str = "a") -> Check:
    return next(check for check in config.checks if check.name == name)


def problems(read: Read, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return [problem.line for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("above", "slow"),
    [
        ("", 2.0),
        ("defaults: {line: {slow: 3s}}", 3.0),
        ("defaults: {line: {slow: 3s}}\ntemplates: {t: {slow: 4s}, u: {}}", 4.0),
        ("templates: {t: {slow: 4s}, u: {slow: 5s}}", 5.0),
        ("templates: {v: {slow: 4s}, t: {use: v}, u: {}}", 4.0),
        ("templates: {v: {slow: 4s}, t: {slow: 6s, use: v}, u: {}}", 6.0),
        ("templates: {v: {slow: 4s}, w: {slow: 7s}, t: {use: [v, w]}, u: {}}", 7.0),
    ],
)
def test_later_ones_win(read: Read, above: str, slow: float) -> None:
    use = ", use: [t, u]" if "templates" in above else ""
    text = f"{above}\nchecks:\n  - {{name: a, probe: line, address: 'h:1'{use}%s}}"
    probe = one(read(text % "")).probe
    assert isinstance(probe, Line)
    assert probe.slow == slow
    probe = one(read(text % ", slow: 9s")).probe
    assert isinstance(probe, Line)
    assert probe.slow == 9.0


def test_common_settings_come_from_each_level(read: Read) -> None:
    text = """
defaults: {interval: 1m, timeout: 1s, confirm: 3, severity: P3, line: {timeout: 2s, confirm: 4, severity: P1}}
templates: {t: {confirm: 5, severity: P0}}
checks:
  - {name: a, probe: line, address: 'h:1', use: t, severity: P2}
  - {name: b, probe: site, url: 'https://h/'}
"""
    check = one(read(text))
    assert (check.interval, check.timeout, check.confirm, check.severity) == (60, 2, 5, "P2")
    check = one(read(text), "b")
    assert (check.interval, check.timeout, check.confirm, check.severity) == (60, 1, 3, "P3")


def test_mappings_merge_and_lists_replace(read: Read) -> None:
    config = read(
        """
defaults: {labels: {a: "0", z: "0"}, tags: [d], line: {labels: {b: "1"}, tls: {verify: false}}}
templates: {t: {labels: {b: "2", c: "2"}, tags: [t, u], tls: {server_name: x}}}
checks:
  - {name: a, probe: line, address: 'h:1', use: t, labels: {c: "3"}}
  - {name: b, probe: line, address: 'h:1', use: t, tags: []}
  - {name: c, probe: site, url: 'https://h/'}
"""
    )
    first = one(config)
    assert first.labels == {"a": "0", "z": "0", "b": "2", "c": "3"}
    assert [one(config, name).tags for name in "abc"] == [("t", "u"), (), ("d",)]
    assert isinstance(first.probe, Line)
    assert first.probe.tls is not None
    assert (first.probe.tls.verify, first.probe.tls.server_name) == (False, "x")


@pytest.mark.parametrize(
    ("own", "there"), [("null", False), ("{}", True), ("{verify: true}", True)]
)
def test_a_scalar_replaces_a_mapping(read: Read, own: str, *, there: bool) -> None:
    probe = one(read(f"""
templates: {{t: {{probe: line, address: 'h:1', tls: {{server_name: x}}}}}}
checks: [{{name: a, use: t, tls: {own}}}]
""")).probe  # fmt: skip
    assert isinstance(probe, Line)
    assert (probe.tls is not None) is there
    assert probe.tls is None or probe.tls.server_name == "x"


@pytest.mark.parametrize("own", ["{file: secret}", "'${OTHER}'", "{env: OTHER}"])
def test_a_secret_replaces_a_secret_whole(read: Read, own: str, tmp_path: object) -> None:
    from pathlib import Path

    (Path(str(tmp_path)) / "secret").write_text("other")
    text = f"""
templates: {{t: {{probe: site, url: 'https://h/', password: {{env: PW}}, headers: {{X: {{env: PW}}, Y: plain}}}}}}
checks: [{{name: a, use: t, password: {own}, headers: {{X: {own}}}}}, {{name: b, use: t}}]
"""
    config = read(text, tmp_path, PW="first", OTHER="other")
    first, second = one(config).probe, one(config, "b").probe
    assert isinstance(first, Site)
    assert isinstance(second, Site)
    assert first.password == SecretStr("other")
    assert first.headers == {"X": SecretStr("other"), "Y": SecretStr("plain")}
    assert second.password == SecretStr("first")


def test_labels_that_are_named_like_references_are_labels(read: Read) -> None:
    config = read("""
templates: {t: {probe: line, address: 'h:1', labels: {env: production}}}
checks: [{name: a, use: t, labels: {file: x}}]
""")  # fmt: skip
    assert one(config).labels == {"env": "production", "file": "x"}


def test_what_no_check_uses_is_warned_about(read: Read) -> None:
    config = read("""
templates:
  used: {use: below, probe: line}
  below: {address: 'h:1'}
  left: {use: below, probe: line}
checks: [{name: a, use: used}]
""")  # fmt: skip
    assert config.warnings == ("probed.yaml:5: no check uses the template `left`",)


def test_a_template_of_no_kind_serves_two(read: Read) -> None:
    config = read("""
templates: {t: {interval: 5m}}
checks:
  - {name: a, probe: line, address: 'h:1', use: t}
  - {name: b, probe: site, url: 'https://h/', use: t}
""")  # fmt: skip
    assert [check.interval for check in config.checks] == [300, 300]


def test_the_own_kind_wins(read: Read) -> None:
    config = read("""
templates: {t: {probe: site, interval: 5m}}
checks: [{name: a, probe: line, address: 'h:1', use: t}]
""")  # fmt: skip
    assert one(config).probe.kind == "line"


def test_what_a_check_adds_may_complete_a_template(read: Read) -> None:
    """A template alone would be refused: the body needs another method, the step a password."""
    config = read("""
templates: {t: {probe: site, body: text}}
checks: [{name: a, use: t, url: 'https://h/', method: HEAD}]
""")  # fmt: skip
    probe = one(config).probe
    assert isinstance(probe, Site)
    assert probe.body == "text"


def test_an_anchor_in_a_check_keeps_its_place(read: Read) -> None:
    lines = problems(read, """
checks:
  - {name: a, probe: line, address: 'h:1', labels: &l {team: 5}}
  - {name: b, use: t}
templates:
  t: {probe: line, address: 'h:1', labels: *l}
""")  # fmt: skip
    assert lines[0].startswith("probed.yaml:3:62: templates.t.labels.team: must be text")
    assert all(line.startswith("probed.yaml:3:62: ") for line in lines)


@pytest.mark.parametrize("name", ["labels", "interval", "use", "probe", "name"])
def test_a_kind_that_is_named_like_a_setting_is_refused(name: str) -> None:
    kind = type("Odd", (Line,), {"kind": name, "__annotations__": {"kind": "ClassVar[str]"}})
    with pytest.raises(
        ConfigError, match="the kind has the name of a setting that every check has"
    ):
        loads(f"checks: [{{name: a, probe: {name}}}]", Registry({name: kind}), environ={})


def test_a_broken_use_brings_no_other_errors(read: Read) -> None:
    lines = problems(read, """
templates: {web: {use: nowhere, interval: 5m}}
checks:
  - {name: a, use: web}
  - {name: b, use: wev, expect: x}
  - {name: c, use: zzz, probe: line, slow: 1}
""")  # fmt: skip
    assert [line.partition(": ")[2].partition(";")[0] for line in lines] == [
        "templates.web.use: there is no template of that name",
        "checks[1].use: there is no template of that name",
        "checks[2].use: there is no template of that name",
        "checks[2].slow: write a duration with its unit, such as 500ms, 30s or 5m",
    ]


def test_a_secret_of_a_template_is_read_once(read: Read) -> None:
    lines = problems(read, "templates: {t: {probe: site, url: 'https://h/', password: {env: NONE}}}\n"
                     "checks:\n" + "".join(f"  - {{name: c{n}, use: t}}\n" for n in range(9)))  # fmt: skip
    assert len(lines) == 1
    assert ": templates.t.password.env: the environment variable NONE is not set" in lines[0]


def test_references_and_damping(read: Read) -> None:
    check = one(read("checks: [{name: a, probe: line, address: 'h:1', reference: true}]"))
    assert (check.reference, check.flap_damping) == (True, True)
    check = one(
        read("defaults: {flap_damping: false}\nchecks: [{name: a, probe: line, address: 'h:1'}]")
    )
    assert (check.reference, check.flap_damping) == (False, False)


# Hostile ones: each is refused or done within little time.


@pytest.mark.timing
def test_many_checks_of_a_large_template_are_refused(read: Read) -> None:
    headers = ", ".join(f"h{n}: x" for n in range(400))
    text = (
        f"templates: {{t: {{probe: site, url: 'https://h/', headers: {{{headers}}}}}}}\nchecks:\n"
    )
    text += "".join(f"- {{name: c{n}, use: t}}\n" for n in range(20_000))
    began = time.process_time()
    lines = problems(read, text)
    assert len(lines) < 200
    assert any("more than 1000000 values in all checks" in line for line in lines)
    assert time.process_time() - began < 20


@pytest.mark.timing
def test_templates_that_stand_for_ever_more_are_refused(read: Read) -> None:
    text = "templates:\n  t0: {labels: {a: x}}\n"
    text += "".join(f"  t{n}: {{use: [{', '.join([f't{n - 1}'] * 20)}]}}\n" for n in range(1, 8))
    text += "checks: [{name: a, probe: line, address: 'h:1', use: t7}]"
    began = time.process_time()
    lines = problems(read, text)
    assert len(lines) == 1
    assert "checks[0]: more than 1000000 values" in lines[0]
    assert time.process_time() - began < 2


@pytest.mark.timing
@pytest.mark.parametrize("circle", [False, True])
def test_a_long_chain_of_templates_is_refused(read: Read, *, circle: bool) -> None:
    count = 5_000
    text = "templates:\n" + "".join(
        f"  t{n}: {{use: t{(n + 1) % (count if circle else 10**6)}}}\n" for n in range(count)
    )
    text += f"  t{count}: {{probe: line}}\nchecks: [{{name: a, use: t0}}]"
    began = time.process_time()
    lines = problems(read, text)
    assert len(lines) == 1
    said = (
        "uses itself: t0 -> t1 -> t2 -> t3 -> t4 -> t5 -> t6 -> t7 -> … -> t0"
        if circle
        else "8 deep"
    )
    assert said in lines[0]
    assert time.process_time() - began < 5


@pytest.mark.timing
def test_an_aliased_template_is_counted_whole(read: Read) -> None:
    rows = ["a0: &a0 [" + ", ".join(["x"] * 10) + "]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    text = "templates:\n  t:\n" + "".join(f"    {row}\n" for row in rows)
    began = time.process_time()
    assert "more than 200000 values" in problems(read, text + "checks: []")[0]
    assert time.process_time() - began < 2


class Plain(Probe):
    kind = "plain"

    async def probe(self, run: Run) -> None:
        """Ask nothing."""


def test_a_kind_without_settings(read: Read) -> None:
    config = loads(
        "defaults: {plain: {interval: 5m}}\nchecks: [{name: a, probe: plain}]",
        Registry({"plain": Plain}), environ={},
    )  # fmt: skip
    assert config.checks[0].interval == 300
