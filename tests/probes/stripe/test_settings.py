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


# --- what it costs -----------------------------------------------------------------------------------

DRIFT = (
    "    drift: {app: {url: http://127.0.0.1/sync, last_event: $.last_event_created}}\n"
    "    interval: 1m\n    key: {env: KEY}\n"
)


def said(text: str, **environ: str) -> list[str]:
    config = loads(text, Registry(), environ=environ)
    return list(StripeProbe.remarks([(c.name, c.probe, c.interval) for c in config.checks]))  # type: ignore[misc]


def test_the_usual_cadences_are_over_the_floor_and_that_is_said() -> None:
    text = f"checks:\n  - name: stripe\n    probe: stripe\n{DRIFT}"
    (line,) = said(text, KEY="rk_live_" + CANARY)
    assert line == (
        "stripe: about 15,120 reads a month (api 8,640, endpoints 720, events 2,880, drift 2,880), "
        "more than the allocation of 10,000; Stripe allows it from 31 transactions a month on: write "
        "longer `steps`, or the `read_allocation` that you have"
    )
    within = said(text + "    read_allocation: 20000\n", KEY="rk_live_" + CANARY)
    assert within[0].endswith("within the allocation of 20,000")


def test_checks_that_share_a_key_are_added_up() -> None:
    checks = "".join(
        f"  - {{name: {name}, probe: stripe, key: {{env: {key}}}, interval: 1h}}\n"
        for name, key in (("one", "A"), ("two", "A"), ("three", "B"))
    )
    found = said(f"checks:\n{checks}", A="rk_live_" + CANARY, B="rk_live_" + CANARY[::-1])
    assert [line.partition("(")[0] for line in found] == [
        "one, two: about 4,320 reads a month ",
        "three: about 2,160 reads a month ",
    ]
    assert CANARY not in repr(found)


def test_a_secret_key_is_remarked_on() -> None:
    text = (
        "checks:\n  - {name: stripe, probe: stripe, interval: 1h, key: {env: KEY}, "
        "allow_secret_key: true}\n"
    )
    found = said(text, KEY="sk_live_" + CANARY)
    assert len(found) == 2
    assert "a live secret key can move money" in found[1]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"webhook": {"url": "https://h/", "synthetic": "signed"}}, "needs the signing secret"),
        ({"webhook": {"url": "https://h/", "previous_secret": "whsec_x"}}, "is of use with"),
        ({"webhook": {"url": "https://h/", "secret": "rk_live_" + CANARY}}, "this is an API key"),
        ({"webhook": {"url": "https://h/", "required_events": ["Invoice Paid"]}}, "pattern"),
        ({"drift": {}}, "write one of app, mongo and sql"),
        ({"drift": {"mongo": {"uri": "x", "database": "d", "collection": "c",
                              "active": {"collection": "c", "where": {"$where": "1"}}}}}, "pattern"),
        ({"drift": {"count": {"failed": "2 %%"}}}, "write a part"),
        ({"steps": {"api": "1ms"}}, "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why) as caught:
        StripeProbe(key="rk_live_" + CANARY, **settings)
    assert CANARY not in str(caught.value)


def test_parts_are_written_as_they_are_read() -> None:
    drift = {"app": {"url": "http://h/", "last_event": "$.a"}, "count": {"degraded": "0.5%"}}
    probe = StripeProbe(key="rk_live_" + CANARY, drift=drift)
    assert probe.drift is not None
    assert probe.drift.count.degraded == 0.005
    assert probe.drift.model_dump()["count"] == {"degraded": "0.5%", "failed": "2%"}
