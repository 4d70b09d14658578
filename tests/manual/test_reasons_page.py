"""The catalogue of reasons: it is complete, agrees with the code, and its page is up to date."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from probed import Probe, Reasons, Run
from probed.manual import reasons as manual
from probed.manual.__main__ import PAGES
from probed.model import Outcome
from probed.reasons import Reason
from probed.registry import Registry

PROBED = Path(sys.executable).with_name("probed")
CATALOGUE = manual.catalogue()
LEVELS = [level.value for level in Outcome]
CALLS = {"fail": "failed", "failed": "failed", "degraded": "degraded", "unknown": "unknown"}
"""Methods that find a reason, and the level that they give it."""


@pytest.mark.parametrize("value", CATALOGUE)
def test_every_reason_says_what_it_means_its_causes_and_what_to_look_at(value: str) -> None:
    entry = CATALOGUE[value]
    assert entry.levels
    assert set(entry.levels) <= set(LEVELS)
    assert re.match(r"([A-Z`\"0-9]|probed ).*[.]$", entry.means), entry.means
    assert entry.means != entry.reason.sentence
    assert entry.causes
    assert entry.look
    for text in (*entry.causes, *entry.look):
        assert text.strip() == text != ""
        assert text.count("`") % 2 == 0, text


def test_no_text_is_about_a_reason_that_does_not_exist(project: Path) -> None:
    for path in (*project.glob("probed/*.toml"), *project.glob("probes/**/*.toml")):
        assert path.with_suffix(".py").exists(), path
        assert set(tomllib.loads(path.read_text())) - set(CATALOGUE) == set()


def found_in_code(project: Path) -> Iterator[tuple[str, str, str]]:
    """Each call that finds a reason by its name: place, reason and level."""
    for path in (*project.glob("probed/**/*.py"), *project.glob("probes/**/*.py")):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        if not calls:
            continue
        module = importlib.import_module(
            ".".join(path.relative_to(project).with_suffix("").parts).removesuffix(".__init__")
        )
        for call in calls:
            level = CALLS.get(call.func.attr) if isinstance(call.func, ast.Attribute) else None
            first = call.args[0] if call.args else None
            if level and isinstance(first, ast.Attribute) and isinstance(first.value, ast.Name):
                reasons = getattr(module, first.value.id, None)
                reason = reasons and getattr(reasons, first.attr, None)
                if isinstance(reason, Reasons):
                    yield f"{path.name}:{call.lineno}", reason.value, level


def test_the_levels_are_those_that_the_code_gives(project: Path) -> None:
    calls = list(found_in_code(project))
    assert len(calls) > 60
    wrong = [call for call in calls if call[2] not in CATALOGUE[call[1]].levels]
    assert wrong == []


def test_the_page_is_the_one_that_make_docs_writes(project: Path) -> None:
    for name, page in PAGES.items():
        assert (project / "docs" / name).read_text() == page(), "run `make docs`"


def test_every_reason_has_its_section_in_the_page(project: Path) -> None:
    headings = re.findall(r"^### (\S+)$", (project / "docs/reasons.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(CATALOGUE)


def explain(word: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROBED, "explain", word], capture_output=True, text=True, check=False)


def test_a_reason_is_explained_in_the_terminal() -> None:
    done = explain("connect.refused")
    assert done.returncode == 0
    assert done.stdout.startswith("connect.refused: Connection refused")
    assert "Kinds   all\nLevels  failed\n" in done.stdout
    assert "ss -ltnp 'sport = :PORT'" in done.stdout


def test_a_command_is_never_broken_over_lines() -> None:
    for entry in CATALOGUE.values():
        shown = manual.terminal([entry])
        for command in re.findall("`[^`]+`", " ".join(entry.look)):
            assert command in shown


def test_an_area_is_listed() -> None:
    done = explain("dmarc")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == sum(e.area == "dmarc" for e in CATALOGUE.values())


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("connect.refusd", "connect.refused"),
        ("tls.expird", "tls.expired"),
        ("no_primary", "mongo.no_primary"),
        ("gatway", "gateway"),
    ],
)
def test_a_near_miss_is_suggested(asked: str, meant: str) -> None:
    done = explain(asked)
    assert done.returncode == 3
    assert f"did you mean '{meant}'?" in done.stderr


def test_a_reason_of_a_foreign_kind_is_explained_by_the_file_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("somebody")
    module.__file__ = str(tmp_path / "somebody.py")
    monkeypatch.setitem(sys.modules, "somebody", module)
    text = '["pump.dry"]\nlevels = ["failed"]\nmeans = "No water."\ncauses = ["x"]\nlook = ["y"]\n'
    (tmp_path / "somebody.toml").write_text(text)

    class PumpReason(Reasons):
        DRY = "pump.dry", "The pump is dry."
        LOUD = "pump.loud", "The pump is loud."

    PumpReason.__module__ = "somebody"

    class PumpProbe(Probe):
        kind = "pump"
        reasons = PumpReason

        async def probe(self, run: Run) -> None: ...

    entries = manual.catalogue(Registry({"pump": PumpProbe}))
    assert entries["pump.dry"].means == "No water."
    assert entries["pump.loud"].look == ()
    assert "pump.loud: The pump is loud." in manual.terminal([entries["pump.loud"]])


def test_a_run_does_not_load_the_catalogue() -> None:
    code = "import sys, probed.cli, probes.smtp; print('tomllib' in sys.modules, [m for m in sys.modules if 'manual' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False []\n"


def test_the_shared_reasons_stand_first() -> None:
    assert list(CATALOGUE)[: len(Reason)] == [reason.value for reason in Reason]
