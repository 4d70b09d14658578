"""smtp: a switch is advised, and whether SPF authorises who would then send."""

from __future__ import annotations

from typing import Any

import pytest

from probed import Outcome
from probed.model import Result
from probed.testing import dns_server
from probes.smtp import SmtpProbe

pytestmark = pytest.mark.anyio

DOMAIN = "sender.example"
REFUSES = {"banner": b"554 5.7.1 blocked\r\n"}


def found(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


async def switch(
    run: Any, script: Any, record: str | None, *, primary: Any = None, **more: Any
) -> Result:
    zone = {} if record is None else {(DOMAIN, "TXT"): [f'"{record}"']}
    async with (
        dns_server(zone, **more.pop("server", {})) as names,
        run.serving(primary or script(**REFUSES), script()) as (one, other),
    ):
        relays = [
            {"name": "primary", "host": "127.0.0.1", "port": one.port, "tls": "none"},
            {"name": "backup", "host": "127.0.0.1", "port": other.port, "tls": "none"}
            | more.pop("backup", {}),
        ]
        host, port = names.server
        return await run.of(relays, spf={"domain": DOMAIN, "server": f"{host}:{port}"}, **more)


async def test_switch_but_spf_fails(run: Any, script: Any) -> None:
    result = await switch(run, script, "v=spf1 ip4:192.0.2.1 -all")
    assert found(result) == [
        ("degraded", "smtp.switch_but_spf_fails"),
        ("degraded", "smtp.banner_rejected"),
    ]
    advice = result.findings[0]
    assert advice.evidence["advice"] == "switch_but_spf_fails"
    assert advice.evidence["backup"] == "backup"
    assert advice.evidence["spf"] == "127.0.0.1 fail"
    assert f"SPF of {DOMAIN} does not authorise it" in advice.message
    assert "backup/spf" in [phase.name for phase in result.phases]


async def test_switch_where_spf_authorises_the_backup(run: Any, script: Any) -> None:
    result = await switch(run, script, "v=spf1 ip4:127.0.0.0/8 -all")
    assert found(result)[0] == ("degraded", "smtp.switch_to_backup")
    assert result.findings[0].evidence["advice"] == "switch_to:backup"
    assert result.findings[0].evidence["spf"] == "127.0.0.1 pass"


async def test_the_addresses_that_it_sends_from_are_those_that_count(run: Any, script: Any) -> None:
    backup = {"sends_from": ["192.0.2.1", "2001:db8::1"]}
    result = await switch(run, script, "v=spf1 ip4:192.0.2.1 ~all", backup=backup)
    assert found(result)[0] == ("degraded", "smtp.switch_but_spf_fails")
    assert result.findings[0].evidence["spf"] == "192.0.2.1 pass, 2001:db8::1 softfail"


@pytest.mark.parametrize("server", [{"fault": "servfail"}, {"fault": "silent"}])
async def test_what_we_cannot_look_up_is_no_failure_of_spf(
    run: Any, script: Any, server: dict[str, Any]
) -> None:
    result = await switch(run, script, None, server=server)
    assert found(result)[0] == ("degraded", "smtp.switch_to_backup")
    assert result.findings[0].evidence["spf"] == "127.0.0.1 temperror"


async def test_a_domain_without_spf_refuses_nobody(run: Any, script: Any) -> None:
    result = await switch(run, script, None)
    assert found(result)[0] == ("degraded", "smtp.switch_to_backup")
    assert result.findings[0].evidence["spf"] == "127.0.0.1 none"


async def test_a_backup_that_spf_does_not_authorise_is_told_ahead(run: Any, script: Any) -> None:
    result = await switch(run, script, "v=spf1 -all", primary=script())
    assert found(result) == [("degraded", "smtp.backup_unready")]
    assert result.findings[0].evidence["because"] == "spf"
    result = await switch(run, script, "v=spf1 ip4:127.0.0.1 -all", primary=script())
    assert result.outcome is Outcome.OK


async def test_a_primary_that_hangs_leaves_time_for_it(run: Any, script: Any) -> None:
    run.timeout = 1.5
    result = await switch(run, script, "v=spf1 -all", primary="silent")
    assert found(result)[0] == ("degraded", "smtp.switch_but_spf_fails")


def test_the_domain_is_the_senders_where_it_is_not_written() -> None:
    relays = [{"name": "a", "host": "a.test"}, {"name": "b", "host": "b.test"}]
    with pytest.raises(ValueError, match="write the domain under spf"):
        SmtpProbe(relays=relays, helo="probe.test", spf={})
    envelope = {"from": f"probe@{DOMAIN}", "rcpt": "a@b.test"}
    assert SmtpProbe(relays=relays, helo="probe.test", spf={}, envelope=envelope).spf is not None
