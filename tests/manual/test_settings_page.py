"""The settings reference: it follows from the classes, is complete, and its examples are valid."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from probed.config import Sections, loads
from probed.config.settings import CheckSettings
from probed.manual.settings import Setting, flat, page, settings_of
from probed.registry import Registry

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
PROBED = str(Path(sys.executable).with_name("probed"))
REGISTRY = Registry()
MODELS = {
    **{section.key: section for section in Sections().all()},
    "check": CheckSettings,
    **{kind: REGISTRY.load(kind) for kind in REGISTRY.kinds()},
}
SECRETS = {"STRIPE_KEY": "rk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"}


class Environ(dict[str, str]):
    """Every variable is set."""

    def get(self, key: str, default: object = None) -> str:  # type: ignore[override]
        return SECRETS.get(key, "mongodb://db.example.com" if key.endswith("_URI") else "s3cret")


def examples() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_page_is_what_the_classes_say() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


@pytest.mark.parametrize("name", MODELS)
def test_every_setting_has_a_sentence_and_a_type(name: str) -> None:
    for path, setting in flat(settings_of(MODELS[name])):
        assert setting.text, path
        assert setting.text.endswith((".", "?", ")")), path
        assert setting.form, path


@pytest.mark.parametrize("name", MODELS)
def test_every_part_has_an_example(name: str) -> None:
    example = MODELS[name].example
    assert example in PAGE.read_text()
    assert name == "check" or name in example


def test_the_examples_are_valid(tmp_path: Path) -> None:
    found = examples()
    assert len(found) == len(MODELS)
    access = tmp_path / "secret"
    access.write_text("s3cret")
    access.chmod(0o600)
    for example in found:
        text = re.sub(r"/etc/probed/(read|admin)", str(access), example)
        if "checks:" not in text:
            text += "checks: [{name: a, probe: tcp, address: 'h:1'}]\n"
        environ: Mapping[str, str] = Environ()
        assert loads(text, REGISTRY, environ=environ).checks


def by_path(name: str) -> Mapping[str, Setting]:
    return dict(flat(settings_of(MODELS[name])))


def test_types_defaults_and_reload() -> None:
    service, telemetry, check = by_path("service"), by_path("telemetry"), by_path("check")
    gateway = by_path("gateway")
    assert check["interval"].form == "duration, 100ms to 7d"
    assert (check["interval"].default, check["name"].default) == ("30s", None)
    assert check["severity"].form == "`P0`, `P1`, `P2` or `P3`"
    assert service["concurrency"].form == "whole number, 1 to 10000"
    assert (service["concurrency"].reloadable, service["listen"].reloadable) == (True, False)
    assert telemetry["otlp.endpoint"].reloadable
    assert not telemetry["spool.age"].reloadable
    assert telemetry["spool.fail"].default == "128MiB"
    assert gateway["status"].default == "[200-299]"
    assert gateway["certificate.degraded"].default == "21d"
    assert gateway["headers"].form == "mapping of names to secret"
    assert gateway["upstreams[].url"].default is None


def explain(name: str) -> str:
    done = subprocess.run(
        [PROBED, "explain", name], capture_output=True, text=True, check=True,
        env={"COLUMNS": "80", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("name", ["gateway", "check", "service"])
def test_explain_fits_a_terminal_of_80_columns(name: str) -> None:
    text = explain(name)
    example = MODELS[name].example
    assert max(len(line) for line in text.splitlines() if line.strip() not in example) <= 80
    for path, setting in by_path(name).items():
        assert f"{setting.key}  (" in text, path
    assert example.splitlines()[0] in text
