"""What may be written, and what is refused where it stands."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from probed.config import ConfigError, loads
from probed.registry import Registry
from probes.stripe import StripeProbe

CANARY = "c4naryc4nary"


def load(lines: str, **environ: str) -> Any:
    text = f"checks:\n  - name: stripe\n    probe: stripe\n{lines}"
    return loads(text, Registry(), environ=environ)


@pytest.mark.parametrize(
    ("lines", "key", "place", "why"),
    [
        ("", "pk_live_", "5:10", "a publishable key reads nothing"),
        ("", "sk_live_", "5:10", "a live secret key can move money"),
        ("", "rk_test_", "5:10", "a key of test mode, but the check is of live mode"),
        ("    mode: test\n", "rk_live_", "6:10", "a key of live mode, but the check is of test"),
        ("", "whsec_", "5:10", "not a Stripe API key"),
        ("", "Bearer rk_live_", "5:10", "not a Stripe API key"),
        ("    api_base: https://127.0.0.1\n", "rk_live_", "6:10", "a live key is sent to"),
        ("    api_base: https://api.stripe.com.evil.test\n", "rk_live_", "6:10", "a live key is"),
    ],
)
def test_a_key_that_may_not_be_used_is_refused_where_it_stands(
    lines: str, key: str, place: str, why: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"    interval: 1m\n{lines}    key: {{env: KEY}}\n", KEY=key + CANARY)
    assert f"probed.yaml:{place}" in str(caught.value)
    assert why in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("http://192.0.2.1", "write https"),
        ("http://api.stripe.com", "write https"),
        ("https://h/v1", "write scheme and host only"),
    ],
)
def test_an_address_that_is_not_safe_is_refused(base: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load(
            f"    mode: test\n    api_base: {base}\n    key: {{env: KEY}}\n",
            KEY="rk_test_" + CANARY,
        )


def test_a_live_secret_key_is_taken_where_that_is_written() -> None:
    config = load("    allow_secret_key: true\n    key: {env: KEY}\n", KEY="sk_live_" + CANARY)
    assert config.checks[0].probe.target == "https://api.stripe.com"


def test_without_a_key_the_steps_that_need_one_are_switched_off_by_hand() -> None:
    with pytest.raises(ValidationError, match="write the key"):
        StripeProbe()
    off = dict.fromkeys(("api", "events", "endpoints", "drift"))
    assert set(StripeProbe(steps=off).cadences) == {"reach"}


def test_no_secret_is_shown() -> None:
    probe = StripeProbe(key="rk_live_" + CANARY)
    assert CANARY not in repr(probe)
    assert CANARY not in probe.model_dump_json()
    other = StripeProbe(key="rk_live_" + CANARY[::-1])
    assert probe.fingerprint == other.fingerprint  # no hash of a secret is kept
