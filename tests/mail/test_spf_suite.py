"""check_host passes the conformance suite of RFC 7208: in memory, and over UDP through our client.

The suite is by S. Gathman, J. Mehnle and S. Kitterman; its licence stands beside it in tests/data.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from probed.mail import Found, Lookup, TempFail, check_host, through
from probed.net.answer import name_of
from probed.net.vantage import Vantage
from probed.reasons import Reason
from probed.testing import no_leaks
from probed.testing.nameserver import DnsServer

pytestmark = pytest.mark.anyio
SUITE = Path(__file__).parent.parent / "data" / "rfc7208-tests.yml"
TYPES = ("A", "AAAA", "MX", "PTR", "TXT")


def key(name: str) -> str:
    return name.lower().removesuffix(".")


@dataclass
class Zone:
    """Records by name and type as `Lookup` gives them; `silent` names answer nothing else."""

    records: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: int = 0

    @classmethod
    def of(cls, data: Mapping[str, list[Any]]) -> Zone:
        """A name's SPF entries count as TXT where it has no TXT entry of its own."""
        zone = cls()
        for name, entries in data.items():
            rows = [next(iter(entry.items())) for entry in entries if isinstance(entry, dict)]
            if "TIMEOUT" in entries:
                zone.silent.add(key(name))
            texts = {kind for kind, _ in rows}
            for kind, value in rows:
                if (kind == "SPF" and "TXT" in texts) or value == "NONE":
                    continue
                plain = zone.plain(kind, value)
                zone.records.setdefault((key(name), "TXT" if kind == "SPF" else kind), []).append(
                    plain
                )
        return zone

    @staticmethod
    def plain(kind: str, value: Any) -> Any:
        if kind in {"SPF", "TXT"}:
            parts = value if isinstance(value, list) else [value]
            return b"".join(part.encode("latin-1") for part in parts)
        if kind == "MX":
            return value[0], key(value[1])
        return value if kind in {"A", "AAAA"} else key(value)

    async def __call__(self, name: str, kind: str, /) -> Found:
        self.asked += 1
        name = key(name)
        for _ in range(8):
            rows = self.records.get((name, kind))
            if rows is not None:
                return Found(tuple(rows))
            if name in self.silent:
                raise TempFail(name, kind, Reason.TIMEOUT_QUERY)
            alias = self.records.get((name, "CNAME"))
            if alias is None:
                break
            name = alias[0]
        return Found((), exists=any(known == name for known, _ in self.records))

    def served(self) -> DnsServer:
        """A name server that says the same."""
        served = DnsServer()
        for (name, kind), rows in self.records.items():
            served.zone[wire(name), kind] = [written(kind, row) for row in rows]
        for name in self.silent:
            for kind in TYPES:
                if (name, kind) not in self.records:
                    served.faults[wire(name), kind] = "silent"
        return served


def wire(name: str) -> str:
    full = name_of(name)
    return name if full is None else full.to_text(omit_final_dot=True).lower()


def written(kind: str, row: Any) -> str:
    """A record as in a zone file."""
    if kind == "TXT":
        chunks = [row[n : n + 255] for n in range(0, len(row), 255)] or [b""]
        return " ".join(
            '"' + "".join(f"\\{octet:03d}" for octet in chunk) + '"' for chunk in chunks
        )
    if kind == "MX":
        return f"{row[0]} {wire(row[1])}."
    return row if kind in {"A", "AAAA"} else wire(row) + "."


@dataclass(frozen=True)
class Case:
    name: str
    zone: int
    ip: str
    sender: str
    helo: str
    results: tuple[str, ...]
    explanation: str | None
    """None where nothing is said of it; empty where there must be none."""

    def __str__(self) -> str:
        return self.name


@lru_cache
def suite() -> tuple[list[Case], list[Mapping[str, list[Any]]]]:
    cases: list[Case] = []
    zones: list[Mapping[str, list[Any]]] = []
    for scenario in filter(None, yaml.safe_load_all(SUITE.read_text(encoding="utf-8"))):
        for name, test in scenario["tests"].items():
            result = test["result"]
            results = tuple(result) if isinstance(result, list) else (result,)
            text = test.get("explanation")
            cases.append(
                Case(
                    name, len(zones), str(test["host"]), test["mailfrom"] or "", test["helo"], results,
                    "" if text == "DEFAULT" else text,
                )
            )  # fmt: skip
        zones.append(scenario["zonedata"])
    return cases, zones


CASES, ZONES = suite()


async def wrong(case: Case, lookup: Lookup) -> str | None:
    """What is wrong with what came of a case."""
    report = await check_host(lookup, case.ip, case.sender, case.helo)
    if report.result not in case.results:
        return f"{case}: {report.result} ({report.cause} {report.detail}), not {case.results}"
    if case.explanation is not None and (report.explanation or "") != case.explanation:
        return f"{case}: explains {report.explanation!r}, not {case.explanation!r}"
    return None


def test_the_suite_is_whole() -> None:
    assert len(CASES) == 203
    assert len(ZONES) == 16
    assert sum(case.explanation is not None for case in CASES) == 22


async def test_all_cases_in_memory(numbers: list[str]) -> None:
    start = time.perf_counter()
    zones = [Zone.of(zone) for zone in ZONES]
    found = [await wrong(case, zones[case.zone]) for case in CASES]
    bad = [text for text in found if text]
    took = time.perf_counter() - start
    numbers.append(
        f"RFC 7208 suite in memory: {len(CASES) - len(bad)} of {len(CASES)}, "
        f"{sum(zone.asked for zone in zones)} lookups, {took * 1000:.0f} ms"
    )
    assert bad == []


async def test_all_cases_over_udp(numbers: list[str]) -> None:
    start = time.perf_counter()
    bad: list[str] = []
    queries = 0
    async with no_leaks(), AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(Zone.of(zone).served()) for zone in ZONES]
        for case in CASES:
            here = Vantage("suite", [servers[case.zone].server], patience=0.1, tries=1)
            text = await wrong(case, through(here))
            if text:
                bad.append(text)
            queries += len(here.answers)
    took = time.perf_counter() - start
    numbers.append(
        f"RFC 7208 suite over UDP: {len(CASES) - len(bad)} of {len(CASES)}, "
        f"{queries} queries, {took:.2f} s"
    )
    assert bad == []
