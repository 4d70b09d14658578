"""Foreign text becomes one safe line; secrets do not come through in any form."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

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


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FORMS = {
    "raw": SECRET,
    "upper case": SECRET.upper(),
    "title case": SECRET.title(),
    "per cent": quote(SECRET, safe=""),
    "per cent, lower case": quote(SECRET, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%22", "%22"),
    "per cent, slash kept": quote(SECRET),
    "per cent, as in JavaScript": quote(SECRET, safe="!'()*~"),
    "a form's": quote_plus(SECRET),
    "base64": b64(SECRET),
    "base64, no padding": b64(SECRET).rstrip("="),
    "base64url": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "base64 of user:secret": b64(f"me:{SECRET}"),
    "base64 of another user": b64(f"mailer:{SECRET}"),
    "base64 of a third": b64(f"a:{SECRET}"),
    "base64 in the middle": b64(f"x={SECRET}&y=1"),
    "SASL PLAIN": b64(f"\0me\0{SECRET}"),
    "JSON": json.dumps(SECRET)[1:-1],
    "JSON with escaped slashes": json.dumps(SECRET)[1:-1].replace("/", "\\/"),
    "JSON of Go": json.dumps(SECRET)[1:-1].replace("&", "\\u0026"),
    "JSON, per cent": quote(json.dumps(SECRET)[1:-1], safe=""),
    "HTML": html.escape(SECRET),
    "HTML, quotes kept": html.escape(SECRET, quote=False),
    "HTML with numbers": SECRET.replace("&", "&amp;").replace('"', "&#34;"),
    "repr": repr(SECRET)[1:-1],
    "in a URL": f"https://me:{quote(SECRET, safe='')}@h/",
    "in a query": f"https://h/?a={quote_plus(SECRET)}&b=1",
    "twice": SECRET + SECRET,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
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


@pytest.mark.parametrize(
    ("secret", "repeated"),
    [
        (f"Basic {b64('me:hunter2-canary')}", "user me, password hunter2-canary"),
        (f"Basic {b64('me:hunter2-canary')}", "me:hunter2-canary"),
        (f"basic {b64('me:hunter2-canary')}", b64("me:hunter2-canary")),
        ("Bearer hunter2-canary", "token hunter2-canary is wrong"),
        ("Token hunter2-canary", "HUNTER2-CANARY"),
        ("it's <canary>", html.escape("it's <canary>")),
        ("it's <canary>", "it&#39;s &lt;canary&gt;"),
        ("it's <canary>", "it&apos;s &lt;canary&gt;"),
        ("k\u00fcche-canary", "k\\u00fcche-canary"),
        ("k\u00fcche-canary", quote("k\u00fcche-canary")),
        ("two\nlines-canary", "only lines-canary"),
        (" canary-with-spaces ", "canary-with-spaces"),
    ],
)
def test_parts_and_escapes_of_a_secret_are_blanked(secret: str, repeated: str) -> None:
    cleaned = Redactor([secret]).clean(repeated)
    assert "canary" not in cleaned.lower()
    assert MASK in cleaned


@given(user=st.text(max_size=12), secret=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]),
       min_size=10, max_size=20), after=st.text(max_size=6))  # fmt: skip
def test_base64_of_it_with_anything_around_is_blanked(user: str, secret: str, after: str) -> None:
    raw = base64.b64encode((user + ":" + secret + after).encode("utf-8", "replace")).decode()
    cleaned = Redactor([secret]).clean(raw)
    left = cleaned.split(MASK)
    assert len(left) > 1
    # What may be left of it are the bits that it shares with its neighbours.
    assert len(raw) - sum(map(len, left)) >= len(secret) * 8 // 6 - 2


@given(st.text(max_size=40), st.text(st.characters(), min_size=4, max_size=10))
def test_any_text_around_a_secret_stays(text: str, secret: str) -> None:
    redactor = Redactor([secret])
    if redactor.redact(text) == text and secret.strip() and len(secret.strip()) >= 4:
        assert redactor.redact(f"{text}\0{secret}\0{text}").count(MASK) >= 1


@pytest.mark.timing
def test_a_hundred_secrets_cost_a_fraction_of_a_millisecond() -> None:
    """Ten times what it takes on a quiet machine: a text of a peer, none of it seen before."""
    redactor = Redactor([f"secret-{n}/+&'" + "x" * 20 for n in range(100)])
    texts = [f"{n} " + "The peer said nothing of interest. " * 14 for n in range(20)]
    begun = time.thread_time()
    for text in texts:
        redactor.clean(text)
    assert (time.thread_time() - begun) / len(texts) < 0.01
