"""Foreign text becomes one safe line; secrets do not come through in any form."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probed.text.redact import MASK, Redactor, redact_url, sanitize

SECRET = 'hunter2/+&"canary'


@pytest.mark.parametrize(
    ("foreign", "safe"),
    [
        ("plain text, ümläut ✔", "plain text, ümläut ✔"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("two\r\nlines\tand a tab", "two\\x0d\\x0alines\\x09and a tab"),
        ("\x9b31mC1", "\\x9b31mC1"),
        ("left\u202eright", "left\\u202eright"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("null\x00", "null\\x00"),
        (b"bytes \xff\xfe", "bytes ��"),
        ("\ud800 alone", "\\ud800 alone"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(foreign: str | bytes, safe: str) -> None:
    assert sanitize(foreign) == safe


@given(st.one_of(st.text(), st.binary()), st.integers(2, 100))
def test_the_line_is_printable_bounded_and_encodable(foreign: str | bytes, limit: int) -> None:
    line = sanitize(foreign, limit)
    assert "\n" not in line
    assert "\x1b" not in line
    line.encode("utf-8")
    assert len(line) <= limit


def test_a_long_text_is_cut_and_says_so() -> None:
    assert sanitize("x" * 1000, 10) == "x" * 9 + "…"
    assert sanitize("x" * 10, 10) == "x" * 10


def test_a_huge_text_costs_no_more_than_its_head() -> None:
    assert len(sanitize(b"y" * 50_000_000)) <= 512


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@example.com/a?key=1&flag#x", "https://example.com/a?key=REDACTED&flag"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("https://h/p?token=pa55word&b=2", "https://h/p?token=REDACTED&b=REDACTED"),
        ("http://[bad", MASK),
    ],
)
def test_a_url_is_shown_without_user_query_values_and_fragment(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        json.dumps(SECRET)[1:-1],
    ],
)
def test_a_known_secret_is_blanked_in_every_form(form: str) -> None:
    cleaned = Redactor([SECRET]).clean(f"before {form} after")
    assert "canary" not in cleaned
    assert form not in cleaned
    assert cleaned.startswith("before ")


def test_a_secret_is_not_cut_in_half_before_it_is_looked_for() -> None:
    secret = "S" * 300 + "tail"
    assert "S" * 8 not in Redactor([secret]).clean("x" * 400 + secret, 512)


def test_short_secrets_do_not_blank_out_ordinary_text() -> None:
    assert Redactor(["ok"]).clean("status ok") == "status ok"


@pytest.mark.parametrize(
    "text",
    [
        "key sk_live_abcdefgh0123456789",
        "key rk_test_abcdefgh",
        "secret whsec_abcdefgh",
        "Authorization: Bearer abc.def-ghi",
        "Basic dXNlcjpwYXNzd29yZA==",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "mongodb://root:pa55word@db/",
        "password=pa55word next",
        '{"api_key": "pa55word"}',
        "?token=pa55word&x=1",
    ],
)
def test_what_looks_like_a_secret_is_blanked_unknown_as_it_is(text: str) -> None:
    cleaned = Redactor().clean(text)
    assert MASK in cleaned
    for part in ("abcdefgh", "pa55word", "dXNlcj", "eyJhbGci", "abc.def"):
        assert part not in cleaned


def test_ordinary_words_stay() -> None:
    text = "the author passed the token bucket test; basic auth is off"
    assert Redactor().clean(text) == text


def test_the_redactor_does_not_show_what_it_knows() -> None:
    assert SECRET not in repr(Redactor([SECRET]))
