"""What may be written under `expect`, `health` and `latency`, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from probed.config import ConfigError, loads
from probed.config.docs import field_docs
from probed.config.schema import schema
from probed.config.show import show
from probed.registry import Registry
from probes.gateway import GatewayProbe, expect, settings
from probes.gateway.expect import Expect
from probes.gateway.health import mapped

DATA = Path(__file__).parent / "data"
BAD = sorted((DATA / "bad").glob("*.yaml"))
GOOD = (DATA / "good.yaml").read_text()
# What no schema can see: what holds between keys, and text whose form the type itself judges.
UNSEEN = (
    "header-name", "header-nothing", "header-twice", "json-and", "json-constant-", "json-nothing",
    "json-path-deep", "json-path-filter", "json-path-hyphen", "map-and", "map-empty", "map-star",
    "map-word", "body-look", "body-not-counts", "header-pattern", "json-pattern",
)  # fmt: skip


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_says_what_is_wrong_and_where(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(path.read_text(), Registry(), name=path.name, environ={})
    assert str(caught.value) == path.with_suffix(".txt").read_text().rstrip("\n")


def test_every_rule_has_a_text() -> None:
    assert {path.stem for path in (DATA / "bad").glob("*.txt")} == {path.stem for path in BAD}


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema(Registry()))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_the_schema_refuses_what_it_can_see(path: Path, validator: Draft202012Validator) -> None:
    valid = validator.is_valid(yaml.safe_load(path.read_text()))
    assert valid is path.name.startswith(UNSEEN)


def test_all_that_may_be_written_is_read_shown_and_in_the_schema(
    validator: Draft202012Validator,
) -> None:
    document = yaml.safe_load(GOOD)
    assert list(validator.iter_errors(document)) == []
    config = loads(GOOD, Registry(), environ={})
    again = show(config)
    assert loads(again, Registry(), environ={}).checks == config.checks
    assert list(validator.iter_errors(yaml.safe_load(again))) == []


def test_what_is_written_in_short_is_what_is_written_in_full() -> None:
    short = Expect.model_validate(
        {"headers": {"A": "x", "B": None}, "body": ["y"], "body_not": ["z"]}
    )
    full = Expect.model_validate(
        {
            "headers": {"A": {"matches": "x"}, "B": {"exists": False}},
            "body": [{"matches": "y", "level": "failed"}],
            "body_not": [{"matches": "z", "name": None}],
        }
    )
    assert short == full


def test_null_is_a_value_to_compare_with_and_absence_is_none() -> None:
    given = Expect.model_validate(
        {"json": [{"path": "$.a", "equals": None}, {"path": "$.a", "below": None, "above": 1}]}
    )
    assert [dict(each.compared) for each in given.json_] == [{"equals": None}, {"above": 1.0}]


def test_every_key_is_explained() -> None:
    models = {
        model
        for module in (expect, settings, mapped)
        for model in (*vars(module).values(), GatewayProbe)
        if isinstance(model, type) and issubclass(model, BaseModel)
    }
    explained = {
        f"{model.__name__}.{name}": name in field_docs(model)
        for model in models
        for name in model.model_fields
    }
    assert len(explained) > 50
    assert [name for name, known in explained.items() if not known] == []
