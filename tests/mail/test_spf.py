"""check_host: what it costs, what bounds it, and what it says of errors."""

from __future__ import annotations

import time
from typing import Any

import pytest

from probed.mail import (
    Found,
    Limits,
    SpfCause,
    SpfReport,
    SpfSyntaxError,
    TempFail,
    check_host,
    parse_spf,
)
from probed.reasons import Reason

pytestmark = pytest.mark.anyio
HERE = "192.0.2.1"


class Zone:
    """`{"name": "v=spf1 …"}` or `{("name", "A"): [rows]}`; a TempFail stands for silence."""

    def __init__(self, records: dict[Any, Any]) -> None:
        self.records = {
            key if isinstance(key, tuple) else (key, "TXT"): [value.encode("latin-1")]
            if isinstance(value, str)
            else value
            for key, value in records.items()
        }
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, name: str, kind: str, /) -> Found:
        self.asked.append((name, kind))
        rows = self.records.get((name.lower(), kind), [])
        if rows == ["silent"]:
            raise TempFail(name, kind, Reason.TIMEOUT_QUERY)
        return Found(tuple(rows))


async def check(records: dict[Any, Any], ip: str = HERE, **more: Any) -> tuple[SpfReport, Zone]:
    zone = Zone(records)
    report = await check_host(zone, ip, more.pop("sender", "joe@a.test"), "mx.a.test", **more)
    assert report.queries == len(zone.asked)
    return report, zone


async def test_the_tree_tells_what_each_include_costs() -> None:
    report, _ = await check({
        "a.test": "v=spf1 include:one.test include:two.test a -all",
        "one.test": "v=spf1 a:x.test include:deep.test ?all",
        "deep.test": "v=spf1 mx exists:%{i}.x.test -all",
        "two.test": "v=spf1 ip4:198.51.100.0/24 -all",
        ("x.test", "A"): ["198.51.100.1"],
        ("deep.test", "MX"): [(10, "x.test")],
        ("192.0.2.1.x.test", "A"): [],
        ("a.test", "A"): ["198.51.100.9"],
    })  # fmt: skip
    assert report.tree.lines() == [
        "a.test: 7 terms, 9 queries",
        "  include one.test: 5 terms, 6 queries",
        "    include deep.test: 3 terms, 4 queries",
        "  include two.test: 1 term, 1 query",
    ]
    assert (report.result, report.matched, report.terms, report.voids) == ("fail", "-all", 7, 1)


async def test_a_redirect_is_followed_and_says_what_decided() -> None:
    report, _ = await check({
        "a.test": "v=spf1 redirect=b.test", "b.test": "v=spf1 ip4:192.0.2.0/24 -all",
    })  # fmt: skip
    assert (report.result, report.matched, report.terms) == ("pass", "ip4:192.0.2.0/24", 1)
    assert [node.how for node in report.tree.children] == ["redirect"]


@pytest.mark.parametrize(
    ("records", "result", "cause", "detail"),
    [
        ({}, "none", None, ""),
        ({"a.test": "v=spf10 -all"}, "none", None, ""),
        ({"a.test": [b"v=spf1 -all", b"v=spf1 ~all"]}, "permerror", "multiple", "a.test"),
        ({"a.test": "v=spf1 ipv4:192.0.2.1"}, "permerror", "syntax",
         "a.test: the term 'ipv4:192.0.2.1' is not understood"),
        ({"a.test": "v=spf1 a:caf\xe9.test"}, "permerror", "syntax",
         "a.test: the record holds characters that are not ASCII"),
        ({"a.test": "v=spf1 a:\x1b[31m"}, "permerror", "syntax",
         "a.test: the term 'a:\\x1b[31m' is not understood"),
        ({"a.test": "v=spf1 include:b.test"}, "permerror", "include_none", "include:b.test"),
        ({"a.test": "v=spf1 redirect=b.test"}, "permerror", "redirect_none", "redirect=b.test"),
        ({"a.test": "v=spf1 a:1.test a:2.test a:3.test"}, "permerror", "voids", "at 3.test"),
        ({"a.test": "v=spf1 mx", ("a.test", "MX"): [(1, f"{n}.test") for n in range(11)]},
         "permerror", "mx", "mx: 11 names"),
        ({"a.test": "v=spf1 a:slow.test -all", ("slow.test", "A"): ["silent"]},
         "temperror", "dns",
         "A slow.test: The timeout expired while waiting for the answer to a DNS query."),
        ({"a.test": ["silent"]}, "temperror", "dns",
         "TXT a.test: The timeout expired while waiting for the answer to a DNS query."),
    ],
)  # fmt: skip
async def test_what_goes_wrong_is_told(
    records: Any, result: str, cause: str | None, detail: str
) -> None:
    report, _ = await check(records)
    assert (report.result, report.cause, report.detail) == (result, cause, detail)


async def test_an_endless_chain_ends_at_ten_terms() -> None:
    class Endless(Zone):
        async def __call__(self, name: str, kind: str, /) -> Found:
            self.asked.append((name, kind))
            number, _, rest = name.partition(".")
            return Found((f"v=spf1 include:{int(number) + 1}.{rest} -all".encode(),))

    zone = Endless({})
    report = await check_host(zone, HERE, "joe@0.test", "mx.test")
    assert report.cause is SpfCause.TERMS
    assert len(zone.asked) == 11


async def test_the_budget_of_terms_is_shared_downwards() -> None:
    tree = {
        f"{n}.test": "v=spf1 " + " ".join(f"include:{m}.test" for m in range(9)) for n in range(9)
    }
    report, zone = await check({"a.test": "v=spf1 include:0.test -all", **tree})
    assert report.cause is SpfCause.TERMS
    assert len(zone.asked) == 11


async def test_ten_mx_of_ten_hosts_take_a_hundred_and_eleven_queries() -> None:
    records: dict[Any, Any] = {"a.test": "v=spf1 " + " ".join(f"mx:{n}.test" for n in range(10))}
    for n in range(10):
        records[f"{n}.test", "MX"] = [(m, f"{m}.{n}.test") for m in range(10)]
        records |= {(f"{m}.{n}.test", "A"): ["198.51.100.1"] for m in range(10)}
    report, _ = await check(records)
    assert (report.result, report.terms, report.queries) == ("neutral", 10, 111)


async def test_queries_have_a_bound_of_their_own() -> None:
    records: dict[Any, Any] = {"a.test": "v=spf1 " + " ".join(f"mx:{n}.test" for n in range(30))}
    for n in range(30):
        records[f"{n}.test", "MX"] = [(m, f"{m}.{n}.test") for m in range(10)]
    report, zone = await check(records, limits=Limits(terms=30))
    assert report.cause is SpfCause.QUERIES
    assert len(zone.asked) == 120


async def test_a_larger_budget_tells_what_a_record_over_the_limit_costs() -> None:
    records = {"a.test": "v=spf1 " + " ".join(f"include:{n}.test" for n in range(12)) + " -all"}
    records |= {f"{n}.test": "v=spf1 ip4:198.51.100.1" for n in range(12)}
    report, _ = await check(records, limits=Limits(terms=30))
    assert (report.result, report.terms) == ("fail", 12)
    assert (await check(records))[0].cause is SpfCause.TERMS


async def test_both_counts_of_voids_are_told() -> None:
    records = {"a.test": "v=spf1 mx -all", ("a.test", "MX"): [(n, f"{n}.test") for n in range(4)]}
    report, _ = await check(records)
    assert (report.voids, report.void_queries) == (0, 4)


async def test_names_of_an_address_are_those_that_lead_back() -> None:
    records = {
        "a.test": "v=spf1 ptr -all",
        ("1.2.0.192.in-addr.arpa", "PTR"): [*(f"{n}.evil.test" for n in range(9)), "mx.a.test", "b.a.test"],
        ("mx.a.test", "A"): [HERE],
    }  # fmt: skip
    report, zone = await check(records)
    assert report.result == "pass"
    assert ("b.a.test", "A") not in zone.asked, "more than ten names"


async def test_an_address_in_an_address_counts_as_itself() -> None:
    report, _ = await check({"a.test": "v=spf1 ip4:192.0.2.1 -all"}, ip="::ffff:192.0.2.1")
    assert report.result == "pass"


async def test_without_a_sender_it_is_helo() -> None:
    report, zone = await check({"mx.a.test": "v=spf1 exists:%{l}.%{h} -all"}, sender="")
    assert report.tree.domain == "mx.a.test"
    assert zone.asked[-1] == ("postmaster.mx.a.test", "A")


@pytest.mark.parametrize("octets", ["%{l}.b.test", "%{L}.b.test", "%{lr-}.b.test"])
async def test_a_local_part_may_hold_anything(octets: str) -> None:
    sender = "caf\u00e9\\-\udcff \x00\n" + "x" * 300 + "@a.test"
    report, zone = await check({"a.test": f"v=spf1 exists:{octets} -all"}, sender=sender)
    assert report.result == "fail"
    assert all(len(name.encode("utf-8", "surrogateescape")) <= 253 for name, _ in zone.asked)


@pytest.mark.timing
@pytest.mark.parametrize(
    "text",
    ["v=spf1 " + "a " * 600, "v=spf1 " + "/1" * 8000, "v=spf1 a:" + "%{d}" * 4000,
     "v=spf1 a:" + "." * 16000, "v=spf1 a:" + "a-" * 8000, "v=spf1 x=" + "%{i" * 5000,
     "v=spf1 exists:" + "%{d1r" + "-" * 15000 + "}", "v=spf1 a:" + "a." * 8000 + "test",
     "v=spf1 " + " " * 16000, "v=spf1 ip4:" + "1" * 16000, "v=spf1 a/" + "1" * 16000,
     "v=spf1 include:%{d" + "9" * 16000 + "}", "v=spf1 exists:" + "%{ir}" * 3000 + ".test"],
)  # fmt: skip
async def test_no_record_holds_the_loop_up(text: str) -> None:
    start = time.process_time()
    await check({"a.test": text})
    assert time.process_time() - start < 0.05


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        (
            "v=spf1 +A:B.test Redirect=c.Test x=1 ?all",
            ("a:b.test", "?all", "redirect=c.test", "x=1"),
        ),
        ("V=SPF1  mx/24//64 ", ("mx/24//64",)),
    ],
)
def test_records_compare_by_their_terms(text: str, terms: tuple[str, ...]) -> None:
    assert parse_spf(text).terms == terms


@pytest.mark.parametrize(
    "term",
    ["all:x.test", "include", "include:", "a:b", "a:b.1", "a:b.-c", "a/33", "a/01", "a//129", "mx:/24",
     "ip4", "ip4:1.2.3", "ip4:1.2.3.4/33", "ip4:::1", "ip6:1.2.3.4", "ip6:::1%1", "ptr/24", "+redirect=b.test",
     "redirect=", "exp=b", "a:%{x}.test", "a:%{c}.test", "a:%{d0}.test", "a:%(d).test", "a:%", "a:b.%{d",
     "frob", "=x", "1=x", "x=%{y}", "a:b\tc.test"],
)  # fmt: skip
def test_what_is_no_term_is_refused(term: str) -> None:
    with pytest.raises(SpfSyntaxError):
        parse_spf("v=spf1 " + term)
