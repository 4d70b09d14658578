"""Several resolvers, the zone's own servers, what is written down, and the run before."""

from __future__ import annotations

from typing import Any

import pytest

from probed.model import Result
from probed.testing import dns_server

pytestmark = pytest.mark.anyio
D = "example.test"
TXT = (D, "TXT")
OTHER = "v=spf1 mx include:_spf.provider.test ~all"


def reasons(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def zone(world: Any, **changes: Any) -> Any:
    more = {TXT: [changes.pop("spf")]} if "spf" in changes else {}
    return world.zone({**world.good(), **more})


async def test_a_resolver_that_is_down_beside_one_that_is_up(world: Any) -> None:
    async with dns_server(zone(world)) as up, dns_server(fault="servfail") as down:
        result = await world.ask(up, down)
        assert reasons(result) == [("degraded", "dns.resolver_error")]
        short = await world.ask(up, down, quorum=2)
    assert reasons(short) == [("unknown", "dns.unavailable")]
    assert short.findings[0].message == (
        "1 of 2 resolvers answer, 2 must: that says nothing of the records."
    )


async def test_no_resolver_that_answers_says_nothing_of_the_records(world: Any) -> None:
    async with dns_server(fault="servfail") as one, dns_server(fault="refused") as two:
        result = await world.ask(one, two)
    assert reasons(result) == [("unknown", "dns.unavailable")]


@pytest.mark.parametrize(
    "name", [D, "_spf.provider.test", "s1._domainkey.example.test", "_dmarc.example.test"]
)
async def test_what_one_resolver_cannot_look_up_is_judged_by_the_other(
    world: Any, name: str
) -> None:
    faults = {(name, "TXT"): "servfail"}
    async with dns_server(zone(world)) as good, dns_server(zone(world), faults=faults) as bad:
        result = await world.ask(good, bad)
    assert reasons(result) == [("degraded", "dns.resolver_error")]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (D, "spf"),
        ("s1._domainkey.example.test", "dkim s1"),
        ("_dmarc.example.test", "dmarc"),
    ],
)
@pytest.mark.parametrize("fault", ["servfail", "refused", "garbage"])
async def test_our_own_failure_to_look_up_is_unknown_never_missing(
    world: Any, name: str, what: str, fault: Any
) -> None:
    faults = {(name, "TXT"): fault}
    async with dns_server(zone(world), faults=faults) as server:
        result = await world.ask(server, timeout=1)
    assert {level for level, _ in reasons(result)} == {"unknown"}
    assert f"Nothing is known of {what}: it could not be looked up." in [
        finding.message for finding in result.findings
    ]


async def test_an_include_of_somebody_elses_that_fails_for_one_and_for_two(world: Any) -> None:
    faults: Any = {("_spf.provider.test", "TXT"): "servfail"}
    async with (
        dns_server(zone(world), faults=faults) as one,
        dns_server(zone(world), faults=faults) as two,
    ):
        alone = await world.ask(one)
        both = await world.ask(one, two)
    assert reasons(alone) == [("unknown", "spf.temperror"), ("unknown", "dns.unavailable")]
    assert reasons(both)[0] == ("failed", "spf.temperror")
    assert both.findings[0].message == (
        "What the SPF record leads to cannot be looked up: TXT _spf.provider.test."
    )


async def test_resolvers_that_disagree(world: Any) -> None:
    async with dns_server(zone(world)) as one, dns_server(zone(world, spf=OTHER)) as two:
        result = await world.ask(one, two)
    assert reasons(result) == [("degraded", "dns.resolver_disagreement")]


async def test_the_worse_of_two_views_counts(world: Any) -> None:
    async with dns_server(zone(world)) as one, dns_server(zone(world, spf="v=spf1 -all")) as two:
        result = await world.ask(one, two)
    assert ("failed", "spf.sender_fail") in reasons(result)
    assert ("degraded", "dns.resolver_disagreement") in reasons(result)


async def test_a_former_record_goes_within_its_lifetime_or_it_is_another(world: Any) -> None:
    memory: dict[str, Any] = {}
    async with (
        dns_server(zone(world)) as own,
        dns_server(zone(world, spf=OTHER), ttl=120) as resolver,
    ):
        servers = [str(own.address)]
        first = await world.ask(resolver, memory=memory, authoritative=servers)
        again = await world.ask(resolver, memory=memory, authoritative=servers)
        ((_, until),) = memory["stale"].values()
        memory["stale"] = {key: [seen, until - 200] for key, (seen, _) in memory["stale"].items()}
        late = await world.ask(resolver, memory=memory, authoritative=servers)
        resolver.zone[TXT] = zone(world)[TXT]
        mended = await world.ask(resolver, memory=memory, authoritative=servers)
    assert reasons(first) == reasons(again) == [("degraded", "dns.propagating")]
    assert first.findings[0].evidence["ttl_remaining"] == 120
    assert again.findings[0].evidence["ttl_remaining"] <= 120
    assert reasons(late) == [("degraded", "dns.resolver_disagreement")]
    assert reasons(mended) == []
    assert memory["stale"] == {}


async def test_the_zones_own_servers_are_found_and_compared(world: Any) -> None:
    async with dns_server(zone(world)) as one:
        two = dns_server(zone(world, spf=OTHER), host="127.0.0.2")
        two._wanted_port = one.port
        async with two:
            result = await world.ask(one, authoritative=True, dns_port=one.port)
            assert result.findings[0].message == (
                "The zone's own servers disagree on spf: ns1.example.test; ns2.example.test."
            )
            two.zone = zone(world)
            assert reasons(await world.ask(one, authoritative=True, dns_port=one.port)) == []
            two.fault = "refused"
            result = await world.ask(one, authoritative=True, dns_port=one.port)
    assert reasons(result) == [("degraded", "dns.resolver_error")]
    assert result.findings[0].message == (
        "ns2.example.test, a server of the zone, does not answer for it."
    )


async def test_the_zones_own_servers_that_cannot_be_asked_are_unknown(world: Any) -> None:
    async with dns_server(zone(world)) as server, dns_server(fault="servfail") as own:
        result = await world.ask(server, authoritative=[str(own.address)])
        assert reasons(result) == [("unknown", "dns.unavailable")]
        assert result.findings[0].message == (
            "Nothing is known of drift: it could not be looked up."
        )
        without = {key: value for key, value in zone(world).items() if key[1] != "NS"}
        server.zone = without
        assert reasons(await world.ask(server, authoritative=True)) == [
            ("unknown", "dns.unavailable")
        ]


async def test_a_delegated_key_is_not_compared_where_the_zone_does_not_know_it(world: Any) -> None:
    key = ("s1._domainkey.example.test", "TXT")
    records = zone(world)
    alias = {("s1._domainkey.example.test", "CNAME"): ["k.provider.test."]}
    whole = {**records, **alias, ("k.provider.test", "TXT"): records[key]}
    del whole[key]
    partly = {name: value for name, value in whole.items() if name[0] != "k.provider.test"}
    async with dns_server(whole) as resolver, dns_server(partly) as own:
        assert reasons(await world.ask(resolver, authoritative=[str(own.address)])) == []


async def test_a_record_that_changed_is_counted_once_and_told(world: Any) -> None:
    memory: dict[str, Any] = {}
    counts: list[float] = []
    results: list[Result] = []
    async with dns_server(zone(world)) as server:
        for record in (None, OTHER, OTHER):
            if record is not None:
                server.zone = zone(world, spf=record)
            results.append(await world.ask(server, memory=memory))
            counts += [
                m.value
                for m in results[-1].measures
                if m.measure.name == "probed.email_auth.record.changes"
            ]
    assert counts == [0, 1, 0]
    changed = str(results[1].facts["probed.email_auth.changed"])
    assert changed.startswith("spf: ")
    assert changed.endswith(memory["records"]["example.test TXT"])
    assert "probed.email_auth.changed" not in results[2].facts


async def test_a_lookup_that_fails_is_no_change(world: Any) -> None:
    memory: dict[str, Any] = {}
    async with dns_server(zone(world)) as server:
        await world.ask(server, memory=memory)
        before = dict(memory["records"])
        server.faults[D, "TXT"] = "servfail"
        await world.ask(server, memory=memory)
        assert memory["records"] == before
        server.faults.clear()
        result = await world.ask(server, memory=memory)
    assert "probed.email_auth.changed" not in result.facts


@pytest.mark.parametrize(
    "kept",
    [
        {"records": 1, "stale": "x"},
        {"records": {"example.test TXT": 5}, "stale": {"spf@127.0.0.1": 3}},
        {"records": ["x"], "stale": {"spf@127.0.0.1": ["x", "y"]}},
    ],
)
async def test_memory_of_another_version_is_borne(world: Any, kept: Any) -> None:
    async with dns_server(zone(world)) as server, dns_server(zone(world, spf=OTHER)) as own:
        result = await world.ask(server, memory=kept, authoritative=[str(own.address)])
    assert reasons(result) == [("degraded", "dns.propagating")]


async def test_the_deadline_is_kept_and_what_was_found_is_told(world: Any) -> None:
    faults: Any = {("_dmarc.example.test", "TXT"): "silent"}
    async with dns_server(zone(world, spf="v=spf1 -all"), faults=faults) as server:
        result = await world.ask(server, timeout=0.5)
    assert result.duration_s < 0.5
    assert ("failed", "spf.sender_fail") in reasons(result)
    assert ("unknown", "dns.unavailable") in reasons(result)


async def test_a_top_level_domain_that_refuses_does_not_matter(world: Any) -> None:
    async with dns_server(zone(world), faults={("_dmarc.test", "TXT"): "refused"}) as server:
        result = await world.ask(server)
    assert reasons(result) == []
    assert result.facts["dmarc.walk_incomplete"] == "_dmarc.test: dns.refused"


async def test_names_through_which_nobody_may_be_asked(world: Any) -> None:
    """A zone that says that the metadata service is its name server gets no query sent there."""
    records = {**zone(world), ("ns1.example.test", "A"): ["169.254.169.254"]}
    records["ns2.example.test", "A"] = ["169.254.169.254"]
    async with dns_server(records) as server:
        result = await world.ask(server, authoritative=True, dns_port=server.port)
    assert reasons(result) == [("unknown", "dns.unavailable")]
