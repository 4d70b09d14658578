"""A top-level section is one class: loader, schema, `show`, `diff`, origins and reload follow."""

from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from probed import Duration, SecretStr, Settings
from probed.config import Check, Config, ConfigError, Section, Sections, loads
from probed.config.diff import Difference, compare, lines
from probed.config.schema import schema
from probed.config.section import RELOADABLE
from probed.config.settings import CheckSettings
from probed.config.show import show
from probed.registry import Registry


class Mail(Settings):
    """A destination."""

    to: str = "sre@example.com"
    """The recipient."""
    password: SecretStr | None = None
    """The password of the relay."""


class Incidents(Section):
    """What people are told."""

    key = "incidents"

    after: Annotated[Duration, Field(ge=1)] = 60.0
    """Time before the first message."""
    repeat: Annotated[Duration, RELOADABLE] = 3600.0
    """Time between two messages."""
    mail: Annotated[Mail, RELOADABLE] = Mail.model_construct()
    """Mail to people."""


KNOWN = Sections(Incidents)
CHECKS = "checks: [{name: a, probe: line, address: 'h:1'}]\n"


def read(registry: Registry, text: str, **more: Any) -> Config:
    return loads(text + CHECKS, registry, environ={"PW": "hunter2hunter2"}, sections=KNOWN, **more)


def test_the_loader_reads_it(registry: Registry) -> None:
    found = read(registry, "incidents: {after: 5s, mail: {password: {env: PW}}}\n").section(
        Incidents
    )
    assert (found.after, found.repeat, found.mail.to) == (5.0, 3600.0, "sre@example.com")
    assert found.mail.password == SecretStr("hunter2hunter2")
    assert read(registry, "").section(Incidents) == Incidents()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("incidents: {after: 5}\n", "incidents.after: write a duration with its unit"),
        ("incidents: {aftr: 5s}\n", "incidents.aftr: unknown key; did you mean `after`?"),
        ("incident: {after: 5s}\n", "incident: unknown key; did you mean `incidents`?"),
    ],
)
def test_what_is_wrong_with_it_is_said(registry: Registry, text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(registry, text)
    assert error in str(caught.value)


def test_it_belongs_into_the_main_file(registry: Registry, tmp_path: Any) -> None:
    (tmp_path / "more.yaml").write_text("incidents: {after: 5s}\n")
    with pytest.raises(ConfigError, match=r"incidents: belongs in the main file"):
        read(registry, "include: more.yaml\n", base=tmp_path)


def test_show_has_it_with_its_defaults(registry: Registry) -> None:
    shown = show(read(registry, "incidents: {mail: {password: {env: PW}}}\n"))
    expected = "incidents:\n  after: 1m\n  repeat: 1h\n  mail:\n    to: sre@example.com\n"
    assert expected in shown
    assert "hunter2" not in shown


def test_show_says_where_it_was_written(registry: Registry) -> None:
    shown = show(read(registry, "incidents: {after: 5s}\n", origins=True), origins=True)
    assert "after: 5s  # probed.yaml:1" in shown
    assert "repeat: 1h  # built in" in shown


def test_diff_and_reload_know_what_needs_a_restart(registry: Registry) -> None:
    new = "incidents: {after: 5s, repeat: 2h, mail: {to: ops@example.com}}\n"
    changes = compare(read(registry, ""), read(registry, new))
    assert changes.settings == (
        Difference("incidents.after", "1m", "5s", reloadable=False),
        Difference("incidents.repeat", "1h", "2h", reloadable=True),
        Difference("incidents.mail.to", "sre@example.com", "ops@example.com", reloadable=True),
    )
    assert lines(changes)[:2] == [
        "~ incidents.after 1m -> 5s  (needs a restart)",
        "~ incidents.repeat 1h -> 2h",
    ]


def test_the_schema_has_it(registry: Registry) -> None:
    found = schema(registry, KNOWN)
    judge = Draft202012Validator(found)
    check = {"name": "a", "probe": "line", "address": "h:1"}
    assert judge.is_valid({"checks": [check], "incidents": {"after": "5s"}})
    assert not judge.is_valid({"checks": [check], "incidents": {"after": 5, "x": 1}})
    fields = found["$defs"]["Incidents"]["properties"]
    assert fields["after"]["description"] == (
        "Time before the first message. A change needs a restart."
    )
    assert fields["repeat"]["description"] == "Time between two messages."
    assert "incidents" not in schema(registry)["properties"]


def test_a_check_has_the_defaults_of_its_settings() -> None:
    """A `Check` is small, as there are many; what it is read by says the same."""
    of_check = Check.__dataclass_fields__
    for name, info in CheckSettings.model_fields.items():
        if not info.is_required() and info.default_factory is None:
            assert of_check[name].default == info.default, name
    assert set(of_check) - set(CheckSettings.model_fields) == {
        "probe", "position", "shown", "written",
    }  # fmt: skip
