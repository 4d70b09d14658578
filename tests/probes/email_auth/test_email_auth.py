"""email_auth: what is published holds for our senders and for strangers, or says why not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from probed import HostPort, Outcome, Probe, Tls
from probed.model import Result
from probed.net import Network, Resolver
from probed.testing import ProbeContract, Scenario, dns_server
from probed.testing.contract import Scenarios
from probes.email_auth import EmailAuthProbe

pytestmark = pytest.mark.anyio
Zone = dict[tuple[str, str], list[str]]
D = "example.test"
UNAVAILABLE = (Outcome.UNKNOWN, "dns.unavailable")


class TestContract(ProbeContract):
    protocol = "dns"
    expects = {  # noqa: RUF012
        **dict.fromkeys(
            ["servfail", "refused", "silent", "garbage", "wrong_id", "cname_loop", "wrong_question",
             "pointer_loop", "nobody"], UNAVAILABLE,
        ),
        # The zone is empty, which they say plainly.
        "nxdomain": (Outcome.FAILED, "spf.none"),
        "truncated": (Outcome.FAILED, "spf.none"),
    }  # fmt: skip
    resolves = False

    @pytest.fixture(autouse=True)
    def _world(self, world: Any) -> None:
        self.world = world

    def make(self, address: HostPort, tls: Tls | None) -> Probe:
        return EmailAuthProbe.model_validate(
            self.world.settings(resolvers=[{"name": "here", "address": str(address)}])
        )

    @asynccontextmanager
    async def good(self) -> AsyncIterator[Scenario]:
        async with dns_server(self.world.zone(self.world.good())) as server:
            yield Scenario(self.make(server.address, None), runs=2)

    @asynccontextmanager
    async def of_the_system(self) -> AsyncIterator[Scenario]:
        async with dns_server(self.world.zone(self.world.good())) as server:
            network = Network(Resolver([server.server], hosts=None))
            yield Scenario(EmailAuthProbe.model_validate(self.world.settings()), network)

    @asynccontextmanager
    async def of_nothing(self) -> AsyncIterator[Scenario]:
        async with dns_server(self.world.zone(self.world.good())) as server:
            network = Network(Resolver([server.server], hosts=None))
            yield Scenario(EmailAuthProbe(domain=D), network, Outcome.UNKNOWN, "dkim.no_selectors")

    def scenarios(self) -> Scenarios:
        return {
            "good": self.good,
            "the system's servers": self.of_the_system,
            "no selector": self.of_nothing,
        }


def reasons(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


async def test_a_domain_that_is_in_order(world: Any) -> None:
    extras = dict.fromkeys(["mx", "mta_sts", "tls_rpt", "tlsa", "bimi"], True)
    result = await world.after({}, extras=extras)
    assert reasons(result) == []
    assert next(phase.name for phase in result.phases) == "resolver_check"
    assert {phase.name for phase in result.phases} == {
        "resolver_check", "spf", "spf/primary", "spf/provider", "dkim/s1", "dmarc", "mx", "mta_sts",
        "tls_rpt", "tlsa", "bimi", "alignment", "drift",
    }  # fmt: skip
    values = {(m.measure.name, *(v for _, v in m.attributes)): m.value for m in result.measures}
    assert values["probed.spf.terms",] == 2
    assert values["probed.spf.include.terms", "_spf.provider.test"] == 1
    assert values["probed.dkim.key.bits", "s1"] == 2048
    assert values["probed.dmarc.policy", D, "reject"] == 1
    assert values["probed.email_auth.status", "alignment", "ok", ""] == 1
    assert result.facts["spf.tree"] == (
        "example.test: 2 terms, 5 queries",
        "  include _spf.provider.test: 1 term, 1 query",
    )


SPF: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("", {}, [("failed", "spf.none")]),
    ("v=spf1 mx include:nowhere.test -all", {}, [("failed", "spf.include_none")]),
    ("v=spf1 mx include:_spf.provider.test frob -all", {},
     [("failed", "spf.syntax")]),
    ("v=spf1 mx include:_spf.provider.test +all", {}, [("failed", "spf.too_permissive")]),
    ("v=spf1 ip4:0.0.0.0/0 mx -all", {}, [("failed", "spf.too_permissive")]),
    ("v=spf1 ip4:198.0.0.0/7 include:_spf.provider.test -all", {}, [("failed", "spf.too_permissive")]),
    ("v=spf1 mx include:_spf.provider.test ?all", {}, [("degraded", "spf.lint_open")]),
    ("v=spf1 mx include:_spf.provider.test", {}, [("degraded", "spf.lint_open")]),
    ("v=spf1 mx include:_spf.provider.test ptr -all", {},
     [("degraded", "spf.void"), ("degraded", "spf.lint_ptr")]),
    ("v=spf1 mx include:_spf.provider.test -all a", {}, [("degraded", "spf.lint_after_all")]),
    ("v=spf1 mx include:_spf.provider.test -all redirect=x.test", {},
     [("degraded", "spf.lint_redirect")]),
    ("v=spf1 mx include:_spf.provider.test -all x=" + "y" * 450, {},
     [("degraded", "spf.lint_length")]),
    ("v=spf1 mx include:_spf.provider.test a:gone.test -all", {}, [("degraded", "spf.void")]),
    ("v=spf1 mx include:_spf.provider.test a:1.test a:2.test a:3.test -all", {},
     [("failed", "spf.void_limit")]),
    ("v=spf1 mx -all", {},
     [("failed", "spf.sender_fail")]),
    ("v=spf1 mx ~all", {}, [("failed", "spf.sender_softfail")]),
    ("v=spf1 mx include:_spf.provider.test -all",
     {"spf__senders": [{"name": "old", "ip": "203.0.113.1", "expect": ["fail", "softfail"]}]},
     [("failed", "spf.sender_pass")]),
    ("v=spf1 mx -all", {"spf__senders": [{"name": "gone", "host": "gone.test"}]},
     [("failed", "spf.sender_address")]),
    ("v=spf1 mx include:_spf.provider.test -all", {"spf__warn_terms": 2}, [("degraded", "spf.near_limit")]),
    ("v=spf1 include:_spf.provider.test mx " + "mx:example.test " * 9 + "-all", {},
     [("failed", "spf.lookup_limit")]),
    ("v=spf1 mx include:_spf.provider.test -all",
     {"spf__expect_record": "v=spf1 +mx include:_spf.provider.test -ALL"}, []),
    ("v=spf1 mx include:_spf.provider.test -all",
     {"spf__expect_record": "v=spf1 include:_spf.provider.test mx -all"}, [("degraded", "dns.drift")]),
    ("v=spf1 mx -all",
     {"spf__expect_record": "v=spf1 include:_spf.provider.test mx -all"},
     [("failed", "spf.sender_fail"), ("failed", "dns.drift")]),
]  # fmt: skip


@pytest.mark.parametrize(("record", "changes", "found"), SPF)
async def test_spf(world: Any, record: str, changes: Any, found: Any) -> None:
    result = await world.after({(D, "TXT"): [record] if record else []}, **changes)
    assert reasons(result) == found


KEY = ("s1._domainkey.example.test", "TXT")
ALIAS = ("s1._domainkey.example.test", "CNAME")
NO_PATH = ("failed", "dmarc.no_aligned_path")
DKIM: list[tuple[Zone, dict[str, Any], list[tuple[str, str]]]] = [
    ({KEY: []}, {}, [("failed", "dkim.missing")]),
    ({KEY: [], ALIAS: ["gone.provider.test."]}, {}, [("failed", "dkim.cname_dangling")]),
    ({KEY: [], ALIAS: ["k.provider.test."], ("k.provider.test", "TXT"): ["v=DKIM1; p={2048}"]}, {}, []),
    ({KEY: ["v=DKIM1; p={2048}", "v=DKIM1; p="]}, {}, [("failed", "dkim.multiple")]),
    ({KEY: ["v=DKIM1; k=rsa"]}, {}, [("failed", "dkim.syntax")]),
    ({KEY: ["v=DKIM1; p="]}, {}, [("failed", "dkim.revoked")]),
    ({KEY: ["v=DKIM1; p="]}, {"dkim__selectors": [{"selector": "s1", "expect": "revoked"}]}, []),
    ({KEY: []}, {"dkim__selectors": [{"selector": "s1", "expect": "absent"}]}, []),
    ({KEY: []}, {"dkim__selectors": [{"selector": "s1", "expect": "revoked"}]},
     [("degraded", "dkim.missing")]),
    ({}, {"dkim__selectors": [{"selector": "s1", "expect": "revoked"}]}, [("failed", "dkim.present")]),
    ({}, {"dkim__selectors": [{"selector": "s1", "expect": "absent"}]}, [("failed", "dkim.present")]),
    ({KEY: ["v=DKIM1; p=AAAA"]}, {}, [("failed", "dkim.key_invalid")]),
    ({KEY: ["v=DKIM1; h=sha1; p=AAAA"]}, {}, [("failed", "dkim.unusable")]),
    ({KEY: ["v=DKIM1; p={1024}"]}, {"dkim__selectors": [{"selector": "s1"}]}, [("degraded", "dkim.key_weak")]),
    ({KEY: ["v=DKIM1; p={1024}"]}, {"dkim__selectors": [{"selector": "s1", "min_bits": 1024}]}, []),
    ({KEY: [("k=rsa; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu"
        "KUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==")]},
     {"dkim__selectors": [{"selector": "s1"}]}, [("failed", "dkim.key_weak")]),
    ({KEY: ["v=DKIM1; t=y; p={2048}"]}, {}, [("degraded", "dkim.testing")]),
    ({KEY: ["v=DKIM1; p={1024}"]}, {}, [("failed", "dkim.key_mismatch")]),
    ({}, {"dkim": {}}, [("unknown", "dkim.no_selectors")]),
    ({}, {"dkim": None}, []),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "changes", "found"), DKIM)
async def test_dkim(world: Any, zone: Zone, changes: Any, found: Any) -> None:
    assert reasons(await world.after(zone, **changes)) == found


POLICY = ("_dmarc.example.test", "TXT")
RUA = "; rua=mailto:d@example.test"
DMARC: list[tuple[list[str], dict[str, Any], list[tuple[str, str]]]] = [
    ([], {}, [("failed", "dmarc.none")]),
    (["v=dmarc1; p=reject"], {}, [("failed", "dmarc.none")]),
    (["v=DMARC1; p=reject" + RUA] * 1 + ["v=DMARC1; p=none"], {}, [("failed", "dmarc.multiple")]),
    (["v=DMARC1; p=rejct"], {}, [("failed", "dmarc.not_applied")]),
    (["v=DMARC1; p=rejct" + RUA], {},
     [("degraded", "dmarc.implicit_none"), ("degraded", "dmarc.policy_weak")]),
    (["v=DMARC1; p=none" + RUA], {}, [("degraded", "dmarc.policy_weak")]),
    (["v=DMARC1; p=none" + RUA], {"dmarc__min_policy": "none"}, []),
    (["v=DMARC1; p=quarantine; t=y" + RUA], {},
     [("degraded", "dmarc.test_mode"), ("degraded", "dmarc.policy_weak")]),
    (["v=DMARC1; p=reject; t=y" + RUA], {}, [("degraded", "dmarc.test_mode")]),
    (["v=DMARC1; p=reject; pct=50" + RUA], {}, [("degraded", "dmarc.pct")]),
    (["v=DMARC1; p=reject; pct=100; ri=86400" + RUA], {}, []),
    (["v=DMARC1; p=reject"], {}, [("degraded", "dmarc.no_rua")]),
    (["v=DMARC1; p=reject; rua=mailto:d@other.test"], {},
     [("degraded", "dmarc.rua_unauthorised"), ("degraded", "dmarc.rua_undeliverable")]),
    (["v=DMARC1; p=reject; rua=mailto:d@other.test"], {"dmarc__check_report_authorization": False}, []),
    (["v=DMARC1; p=reject; sp=none" + RUA], {"dmarc__subdomains": ["mx1.example.test", "no.example.test"]},
     [("degraded", "dmarc.policy_weak"), ("degraded", "dmarc.policy_weak")]),
    (["v=DMARC1; p=reject; sp=none; np=reject" + RUA],
     {"dmarc__subdomains": ["mx1.example.test", "no.example.test"]}, [("degraded", "dmarc.policy_weak")]),
    (["v=DMARC1; p=reject" + RUA], {"dmarc__expect_record": "v=DMARC1;rua=mailto:d@example.test; p=reject"}, []),
    (["v=DMARC1; p=reject" + RUA], {"dmarc__expect_record": "v=DMARC1; p=reject"}, [("degraded", "dns.drift")]),
    (["v=DMARC1; p=reject; aspf=s; adkim=s" + RUA],
     {"spf__envelope_domain": "_spf.provider.test", "dkim__d": "sign.example.test"},
     [("failed", "spf.sender_softfail"), ("failed", "dkim.missing"), NO_PATH]),
]  # fmt: skip


@pytest.mark.parametrize(("records", "changes", "found"), DMARC)
async def test_dmarc(world: Any, records: list[str], changes: Any, found: Any) -> None:
    result = await world.after({POLICY: records}, **changes)
    assert reasons(result) == found


ALIGNMENT: list[tuple[str, dict[str, Any], bool]] = [
    ("v=DMARC1; p=reject", {"dkim": None}, True),
    ("v=DMARC1; p=reject", {"dkim": None, "spf__envelope_domain": "bounce.example.test"}, True),
    ("v=DMARC1; p=reject; aspf=s", {"dkim": None, "spf__envelope_domain": "bounce.example.test"}, False),
    ("v=DMARC1; p=reject; aspf=s", {"spf__envelope_domain": "bounce.example.test"}, True),
    ("v=DMARC1; p=reject", {"dkim": None, "spf__envelope_domain": "example.net"}, False),
    ("v=DMARC1; p=reject", {"spf": None, "dkim__d": "mail.example.test"}, True),
    ("v=DMARC1; p=reject; adkim=s", {"spf": None, "dkim__d": "mail.example.test"}, False),
    ("v=DMARC1; p=reject; adkim=s", {"dkim__d": "mail.example.test"}, True),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "changes", "passes"), ALIGNMENT)
async def test_our_mail_can_pass_dmarc(world: Any, policy: str, changes: Any, passes: bool) -> None:
    record = world.good()[D, "TXT"]
    zone = {
        POLICY: [policy + RUA],
        ("bounce.example.test", "TXT"): ["v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 -all"],
        ("example.net", "TXT"): ["v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 -all"],
        ("s1._domainkey.mail.example.test", "TXT"): ["v=DKIM1; p={2048}"],
        (D, "TXT"): record,
    }
    result = await world.after(zone, **changes)
    assert reasons(result) == ([] if passes else [NO_PATH])


async def test_no_aligned_path_tells_why(world: Any) -> None:
    zone = {("example.net", "TXT"): ["v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 -all"]}
    result = await world.after(zone, dkim=None, spf__envelope_domain="example.net")
    assert result.worst is not None
    assert result.worst.message == (
        "No mail of ours can pass DMARC: the envelope's domain example.net is not aligned with "
        "example.test, and no DKIM key is configured."
    )


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        (POLICY, "its version is not DMARC1 to the letter"),
        ((D, "TXT"), "it stands at the domain itself, not at _dmarc"),
    ],
)
async def test_a_dmarc_record_that_was_nearly_one(world: Any, where: Any, hint: str) -> None:
    misplaced = "v=DMARC1; p=reject"
    wrong = {POLICY: ["v=Dmarc1; p=reject"], (D, "TXT"): [*world.good()[D, "TXT"], misplaced]}
    result = await world.after({POLICY: [], where: wrong[where]})
    assert result.worst is not None
    assert result.worst.message == (
        f"No DMARC policy applies to example.test; there is one, but {hint}."
    )


EXTRAS: list[tuple[Zone, str, list[tuple[str, str]]]] = [
    ({("mx2.example.test", "A"): []}, "mx", [("failed", "mx.unresolved")]),
    ({(D, "MX"): ["0 ."]}, "mx", [("failed", "spf.sender_fail"), ("degraded", "dmarc.rua_undeliverable"), ("degraded", "mx.none")]),
    ({("_mta-sts.example.test", "TXT"): []}, "mta_sts", [("degraded", "mta_sts.missing")]),
    ({("_mta-sts.example.test", "TXT"): ["v=STSv1;"]}, "mta_sts", [("failed", "mta_sts.invalid")]),
    ({("_mta-sts.example.test", "TXT"): ["v=STSv1; id=1", "v=STSv1; id=2"]}, "mta_sts",
     [("failed", "mta_sts.invalid")]),
    ({("mta-sts.example.test", "A"): []}, "mta_sts", [("failed", "mta_sts.host")]),
    ({("_smtp._tls.example.test", "TXT"): []}, "tls_rpt", [("degraded", "tls_rpt.missing")]),
    ({("_smtp._tls.example.test", "TXT"): ["v=TLSRPTv1; rua=joe"]}, "tls_rpt",
     [("failed", "tls_rpt.invalid")]),
    ({("_25._tcp.mx1.example.test", "TLSA"): []}, "tlsa", [("degraded", "tlsa.missing")]),
    ({("_25._tcp.mx1.example.test", "TLSA"): ["3 9 1 " + "ab" * 32]}, "tlsa", [("failed", "tlsa.unusable")]),
    ({("_25._tcp.mx1.example.test", "TLSA"): ["1 1 1 " + "ab" * 32]}, "tlsa", [("failed", "tlsa.unusable")]),
    ({("default._bimi.example.test", "TXT"): []}, "bimi", [("degraded", "bimi.missing")]),
    ({("default._bimi.example.test", "TXT"): ["v=BIMI1; l=http://x.test/"]}, "bimi",
     [("degraded", "bimi.invalid")]),
    ({}, "require_ad", [("failed", "dns.not_authentic")]),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "extra", "found"), EXTRAS)
async def test_extras(world: Any, zone: Zone, extra: str, found: Any) -> None:
    assert reasons(await world.after(zone, extras={"mx": False, extra: True})) == found
    assert reasons(await world.after({}, extras={"mx": False})) == []


async def test_no_mailbox_is_told(world: Any) -> None:
    """Of who gets reports the domain is shown, in facts and in all evidence, however it is written."""
    for policy in ("p=none", "p=reject; pct=50", "frob=1", "p=quarantine; t=y"):
        record = (
            f"v=DMARC1; {policy}; rua=mailto:Some.Body@example.test,MAILTO:other+x@reports.test!10m"
        )
        result = await world.after(
            {("_dmarc.example.test", "TXT"): [record], ("_smtp._tls.example.test", "TXT"): [
                "v=TLSRPTv1; rua=ftp:x,mailto:third@example.test"]},
            extras={"tls_rpt": True}, dmarc__expect_record="v=DMARC1; p=reject; rua=mailto:fourth@example.test",
        )  # fmt: skip
        told = repr(result)
        assert "mailto:…@example.test" in told
        assert "tls_rpt.invalid" in told
        for mailbox in ("Body", "other", "third", "fourth"):
            assert mailbox not in told
