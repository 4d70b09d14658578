import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probed.config.interpolate import InterpolationError, escape, interpolate
from probed.config.scalars import resolve


@pytest.mark.parametrize(
    "text",
    ["no", "yes", "on", "off", "y", "1:30", "12:30:45", "2024-01-02", "2024-01-02T03:04:05Z", "1_000",
     "0b1", "08:00", "tRUE", "nULL", "1e", "e1", ".", "-", "+", "0x", "0o", "0xg", "0o8", "1.2.3",
     "NaN", "inf", "+.nan", "=", "<<", "٣", "1\n", "9" * 31],
)  # fmt: skip
def test_stays_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("true", True),
     ("True", True), ("TRUE", True), ("false", False), ("0", 0), ("012", 12), ("-19", -19),
     ("+1", 1), ("0o14", 12), ("0xFf", 255), ("1.", 1.0), ("-.5", -0.5), ("1e3", 1000.0),
     ("0.5E-1", 0.05), ("-.inf", -math.inf), (".Inf", math.inf)],
)  # fmt: skip
def test_is_resolved(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number() -> None:
    value = resolve(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("a", "a"), ("$", "$"), ("a$", "a$"), ("^a$b", "^a$b"), ("$A", "$A"), ("$$", "$"),
        ("$${A}", "${A}"), ("$$$$", "$$"), ("${A}", "1"), ("<${A}${B}>", "<12>"), ("$${A}${A}", "${A}1"),
        ("${NONE:-x}", "x"), ("${NONE:-}", ""), ("${EMPTY:-x}", "x"), ("${EMPTY}", ""), ("${A:-x}", "1"),
        ("${A:?x}", "1"), ("${NONE:-a:-b}", "a:-b"), ("${NONE:-$}", "$"), ("${Y}", "a: [b] ${A} $$"),
    ],
)  # fmt: skip
def test_fills_in(text: str, filled: str) -> None:
    environ = {"A": "1", "B": "2", "EMPTY": "", "Y": "a: [b] ${A} $$"}
    assert interpolate(text, environ).text == filled


@pytest.mark.parametrize(
    "text", ["${", "${}", "${1}", "${A", "${A-x}", "${A:=x}", "${ A }", "${A:-${B}}"]
)
def test_refuses_what_is_no_variable(text: str) -> None:
    with pytest.raises(InterpolationError, match="does not begin a variable"):
        interpolate(text, {"A": "1", "B": "2"})


@given(st.text(alphabet="$${}aA:-", max_size=12))
def test_escaped_text_comes_back(text: str) -> None:
    assert interpolate(escape(text), {}).text == text
