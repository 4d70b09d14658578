"""One bad file for each rule, with the exact text of its error; good files that must stay good."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from probed import SecretStr
from probed.config import Config, ConfigError, loads
from probed.config.schema import schema
from probed.config.show import show
from probed.config.source import Node, Source
from probed.config.telemetry import Spool
from probed.model import Severity
from probed.registry import Registry

DATA = Path(__file__).parent / "data"
BAD = sorted((DATA / "bad").glob("*.yaml"))
GOOD = sorted((DATA / "good").glob("*.yaml"))
# What no schema can see: what holds between keys, the environment, files, and YAML itself.
UNSEEN = (
    "alias", "at-sign", "bracket", "colon", "depends-cycle", "depends-self", "depends-typo",
    "depends-unknown", "duplicate", "escape", "indentation", "labels-many-with", "labels-taken", "list-key",
    "merge-key", "name-twice", "null-key", "number-key", "quote", "syntax", "tab", "tag", "timeout-",
    "too-", "two-documents", "validator", "variable", "secret-env-unset", "secret-env-empty",
    "secret-env-shape", "secret-file", "secret-credential", "confirm-float", "ratio-nan",
    # What templates and defaults make of a check.
    "include-missing", "include-nul", "kind-defaults-timeout", "template-depends",
    "template-labels-many", "template-of-two-kinds", "template-twice", "use-cycle", "use-no-",
    "use-too-deep", "use-unknown", "use-without-templates",
    # Text whose form the type itself judges.
    "address", "interval-too", "listen", "otlp.", "pattern", "resolver", "runbook", "size.", "url",
)  # fmt: skip
SEEN = [path for path in BAD if not path.name.startswith(UNSEEN)]


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", BAD, ids=name_of)
def test_says_what_is_wrong(path: Path, registry: Registry, environ: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(path.read_text(), registry, name=path.name, environ=environ)
    assert str(caught.value) == path.with_suffix(".txt").read_text().rstrip("\n")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("path", BAD, ids=name_of)
def test_finds_the_same_without_libyaml(path: Path) -> None:
    """Either parser finds the same problems of form, in the same lines."""
    import yaml

    fast, slow = (Source(path.read_text(), path.name, loader=loader)
                  for loader in (yaml.CSafeLoader, yaml.SafeLoader))  # fmt: skip
    assert fast.valid == slow.valid
    assert [draft.mark[1] for draft in fast.drafts] == [draft.mark[1] for draft in slow.drafts]


@pytest.mark.parametrize("path", GOOD, ids=name_of)
def test_loads_the_same_without_libyaml(path: Path) -> None:
    import yaml

    fast, slow = (Source(path.read_text(), path.name, loader=loader)
                  for loader in (yaml.CSafeLoader, yaml.SafeLoader))  # fmt: skip
    assert fast.root is not None
    assert slow.root is not None
    assert plain(fast.root) == plain(slow.root)


@pytest.mark.parametrize("path", GOOD, ids=name_of)
def test_what_is_shown_loads_again(
    path: Path, registry: Registry, environ: Mapping[str, str]
) -> None:
    config = loads(path.read_text(), registry, environ=environ)
    text = show(config)
    assert "canary-token" not in text + repr(config)
    values = plain(parsed(text))
    if "[redacted]" not in text and "REDACTED" not in text:
        assert settings(loads(text, registry, environ={})) == settings(config)
    assert len(values["checks"]) == len(config.checks)


@pytest.mark.parametrize("path", GOOD, ids=name_of)
def test_schema_accepts(path: Path, registry: Registry) -> None:
    errors = list(
        Draft202012Validator(schema(registry)).iter_errors(plain(parsed(path.read_text())))
    )
    assert errors == []


@pytest.mark.parametrize("path", SEEN, ids=name_of)
def test_schema_refuses_what_it_can_see(path: Path, registry: Registry) -> None:
    source = Source(path.read_text(), path.name)
    value = None if source.root is None else plain(source.root)
    assert not Draft202012Validator(schema(registry)).is_valid(value)


def test_reads_all_settings(registry: Registry, environ: Mapping[str, str]) -> None:
    path = DATA / "good" / "all-settings.yaml"
    config = loads(path.read_text(), registry, environ=environ)
    service, telemetry, (mail, site) = config.service, config.telemetry, config.checks
    assert service.listen == "127.0.0.1:0"
    assert service.state_dir == Path("/var/lib/probed")
    assert service.resolvers == (
        "192.0.2.53:53", "192.0.2.54:5353", "[2001:db8::53]:53", "[2001:db8::54]:53",
    )  # fmt: skip
    assert telemetry.metrics_interval == 15.0
    assert telemetry.spool == Spool(fail=256 << 20, age=43200.0)
    assert telemetry.otlp.headers == {
        "Authorization": SecretStr("canary-token-1"),
        "X-Scope": SecretStr("tenant-1"),
    }
    assert (mail.interval, mail.timeout, mail.confirm) == (60.0, 5.0, 2)
    assert (mail.fail_after, mail.recover_after, mail.severity) == (3, 4, Severity.P1)
    assert (mail.labels, mail.enabled) == ({"team": "mail", "tier": "1"}, True)
    assert (site.interval, site.timeout, site.confirm) == (0.1, 0.01, 0)
    assert site.labels == {"team": "mail", "tier": "2", "_a.b": "c"}
    assert (site.severity, site.enabled) == (Severity.P0, False)
    assert site.depends_on == ("mail/eu.1",)
    assert str(site.position) == "probed.yaml:41:5"


def test_every_rule_has_a_text() -> None:
    assert {path.stem for path in (DATA / "bad").glob("*.txt")} == {path.stem for path in BAD}


def parsed(text: str) -> Node:
    source = Source(text, "probed.yaml")
    assert source.root is not None
    return source.root


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def settings(config: Config) -> dict[str, object]:
    return {key: getattr(config, key) for key in ("checks", "service", "telemetry")}
