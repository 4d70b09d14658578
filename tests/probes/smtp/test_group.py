"""smtp: what a group of relays comes to, and whether to switch to its backup."""

from __future__ import annotations

from typing import Any

import pytest

from probed import Outcome
from probed.model import Result

pytestmark = pytest.mark.anyio

REFUSES = {"banner": b"554 5.7.1 blocked\r\n"}


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def usable(result: Result) -> dict[str, float]:
    return {
        m.attributes[0][1]: m.value
        for m in result.measures
        if m.measure.name == "probed.smtp.relay.usable"
    }


async def test_both_can_be_used(run: Any, script: Any) -> None:
    result = await run(script(), script())
    assert (result.outcome, found(result)) == (Outcome.OK, [])
    assert usable(result) == {"primary": 1, "backup": 1}
    names = [phase.name for phase in result.phases]
    assert {"primary/banner", "backup/banner", "backup/quit"} <= set(names)


async def test_the_primary_fails_and_the_backup_can_take_over(run: Any, script: Any) -> None:
    result = await run(script(**REFUSES), script(), script())
    assert found(result) == [
        ("degraded", "smtp.switch_to_backup"),
        ("degraded", "smtp.banner_rejected"),
    ]
    advice, cause = result.findings
    assert advice.evidence["advice"] == "switch_to:backup"
    assert advice.evidence["because"] == "smtp.banner_rejected"
    assert "switch to backup (127.0.0.1:" in advice.message
    assert cause.message.startswith("primary: ")
    assert usable(result) == {"primary": 0, "backup": 1, "third": 1}


async def test_the_first_backup_that_can_be_used_is_advised(run: Any, script: Any) -> None:
    result = await run("refused", script(**REFUSES), script())
    assert result.outcome is Outcome.DEGRADED
    assert result.findings[0].evidence["advice"] == "switch_to:third"


async def test_a_backup_that_could_not_take_over(run: Any, script: Any) -> None:
    result = await run(script(), script(**REFUSES))
    assert found(result) == [("degraded", "smtp.backup_unready")]
    assert result.findings[0].evidence["because"] == "smtp.banner_rejected"
    assert "554 5.7.1 blocked" in result.findings[0].message


async def test_none_can_be_used(run: Any, script: Any) -> None:
    result = await run(script(**REFUSES), "refused")
    assert found(result) == [("failed", "smtp.banner_rejected"), ("failed", "connect.refused")]
    assert [f.message.partition(":")[0] for f in result.findings] == ["primary", "backup"]


async def test_a_primary_that_is_degraded_is_still_used(run: Any, script: Any) -> None:
    told = {b"EHLO": b"502 what\r\n"}
    result = await run(script(answers=told), script())
    assert found(result) == [("degraded", "smtp.no_esmtp")]


async def test_a_relay_that_hangs_does_not_keep_the_others_from_being_judged(
    run: Any, script: Any
) -> None:
    run.timeout = 1.0
    result = await run("silent", script())
    assert [reason for _, reason in found(result)] == ["smtp.switch_to_backup", "timeout.banner"]
    assert result.outcome is Outcome.DEGRADED


async def test_one_relay_alone_is_named_by_nobody(run: Any, script: Any) -> None:
    result = await run(script(**REFUSES))
    assert [phase.name for phase in result.phases][:3] == ["resolve", "connect", "banner"]
    assert result.findings[0].message.startswith("The relay rejects the connection")


async def test_facts_of_the_others_are_told_apart(run: Any, script: Any) -> None:
    result = await run(script(offers=(b"mx", b"SIZE 1")), script(offers=(b"mx", b"DSN")))
    assert result.facts["smtp.extensions"] == "size"
    assert result.facts["smtp.backup.smtp.extensions"] == "dsn"


async def test_how_long_each_phase_took_is_measured_by_relay(run: Any, script: Any) -> None:
    result = await run(script(**REFUSES), script())
    outcomes = {
        (dict(m.attributes)["smtp.relay"], dict(m.attributes)["smtp.phase"]): dict(m.attributes)[
            "probed.smtp.outcome"
        ]
        for m in result.measures
        if m.measure.name == "probed.smtp.phase.duration"
    }
    assert outcomes["primary", "banner"] == "error"
    assert outcomes["primary", "ehlo"] == "skipped"
    assert outcomes["backup", "ehlo"] == "ok"
    replies = [
        dict(m.attributes) for m in result.measures if m.measure.name == "probed.smtp.replies"
    ]
    assert {"smtp.relay": "primary", "smtp.phase": "banner", "smtp.reply.class": "5xx"} in replies
    assert not [r for r in replies if r["smtp.phase"] == "quit"]
