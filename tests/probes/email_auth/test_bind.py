"""email_auth against two real BINDs: one that serves the domain, and a second that disagrees."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from probed import HostPort
from probed.engine.runner import execute
from probed.model import Result
from probed.net import Network, Resolver
from probed.testing import no_leaks
from probes.email_auth import EmailAuthProbe
from tests.programs import free_port, wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.debian("bind9")]
Zone = dict[tuple[str, str], list[str]]
D = "example.test"
ZONES = (D, "provider.test", "reports.test")
_CONF = """
options {{
  directory "{folder}"; pid-file none; session-keyfile "{folder}/key"; managed-keys-directory "{folder}";
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  dnssec-validation no; allow-query {{ any; }}; empty-zones-enable no; {mode}
}};
controls {{ }};
{zones}
"""


@contextmanager
def authority(folder: Path, records: Mapping[tuple[str, str], list[str]]) -> Iterator[HostPort]:
    """A BIND that has authority for these records, and for nothing else."""
    folder.mkdir()
    declared = ""
    for zone in ZONES:
        lines = [
            f"$TTL 60\n@ IN SOA ns1.{D}. hostmaster.{D}. 1 3600 600 86400 300\n@ IN NS ns1.{D}."
        ]
        lines += [
            f"{name}. 60 IN {kind} {value}"
            for (name, kind), values in records.items()
            if name == zone or name.endswith("." + zone)
            for value in values
            if kind not in {"SOA", "NS"}
        ]
        (folder / zone).write_text("\n".join(lines) + "\n")
        declared += f'zone "{zone}" {{ type primary; file "{zone}"; }};\n'
    with named(folder, "recursion no;", declared) as address:
        yield address


@contextmanager
def resolver(folder: Path, server: HostPort) -> Iterator[HostPort]:
    """A BIND that asks that server, and remembers."""
    folder.mkdir()
    asked = f"{server.host} port {server.port}"
    mode = f"recursion yes; forward only; forwarders {{ {asked}; }};"
    with named(folder, mode, "") as address:
        yield address


@contextmanager
def named(folder: Path, mode: str, zones: str) -> Iterator[HostPort]:
    port = free_port()
    conf = folder / "named.conf"
    conf.write_text(_CONF.format(folder=folder, port=port, mode=mode, zones=zones))
    log = folder / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            ["/usr/sbin/named", "-g", "-n", "1", "-c", str(conf)], stdout=said, stderr=said
        )
        try:
            wait_until(lambda: b" running\n" in log.read_bytes(), f"named: see {log}")
            yield HostPort("127.0.0.1", port)
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def serve(tmp_path: Path, world: Any) -> Iterator[Callable[..., HostPort]]:
    with ExitStack() as running:

        def start(changes: Zone | None = None) -> HostPort:
            records = world.zone({**world.good(), **(changes or {})})
            folder = tmp_path / f"zone{len(list(tmp_path.iterdir()))}"
            return running.enter_context(authority(folder, records))

        yield start


async def ask(world: Any, *servers: HostPort, **changes: Any) -> Result:
    resolver = Resolver([(server.host, server.port) for server in servers], hosts=None)
    probe = EmailAuthProbe.model_validate(world.settings(**changes))
    async with no_leaks():
        return await execute(probe, network=Network(resolver), timeout=8)


def reasons(result: Result) -> list[str]:
    return [str(finding.reason) for finding in result.findings]


async def test_a_domain_that_is_in_order(world: Any, serve: Callable[..., HostPort]) -> None:
    server = serve()
    extras = dict.fromkeys(["mx", "mta_sts", "tls_rpt", "tlsa", "bimi"], True)
    result = await ask(world, server, authoritative=[str(server)], extras=extras)
    assert reasons(result) == []
    assert result.facts["spf.tree"] == (
        "example.test: 2 terms, 5 queries",
        "  include _spf.provider.test: 1 term, 1 query",
    )


async def test_a_second_server_that_disagrees(world: Any, serve: Callable[..., HostPort]) -> None:
    """The record was changed, and one of the zone's servers did not get it."""
    one = serve()
    other = serve({(D, "TXT"): ["v=spf1 mx include:_spf.provider.test ip4:198.18.0.0/24 -all"]})
    result = await ask(world, one, authoritative=[str(one), str(other)])
    assert reasons(result) == ["dns.resolver_disagreement"]
    (finding,) = result.findings
    assert "spf" in finding.message
    assert {str(one), str(other)} <= finding.evidence.keys()
    both = await ask(world, one, other)
    assert reasons(both) == ["dns.resolver_disagreement"]


async def test_a_resolver_that_still_has_the_former_record(
    world: Any, serve: Callable[..., HostPort]
) -> None:
    former = serve(
        {("_dmarc.example.test", "TXT"): ["v=DMARC1; p=quarantine; rua=mailto:d@example.test"]}
    )
    own = serve()
    result = await ask(world, former, authoritative=[str(own)])
    assert reasons(result) == ["dns.propagating"]
    assert 0 < result.findings[0].evidence["ttl_remaining"] <= 60


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({(D, "TXT"): []}, ["spf.none"]),
        ({(D, "TXT"): ["v=spf1 mx -all", "v=spf1 -all"]}, ["spf.multiple"]),
        ({("s1._domainkey.example.test", "TXT"): []}, ["dkim.missing"]),
        ({("s1._domainkey.example.test", "TXT"): [],
          ("s1._domainkey.example.test", "CNAME"): ["s1.dkim.provider.test."],
          ("s1.dkim.provider.test", "TXT"): ["v=DKIM1; k=rsa; p={2048}"]}, []),
        ({("s1._domainkey.example.test", "TXT"): [],
          ("s1._domainkey.example.test", "CNAME"): ["gone.provider.test."]}, ["dkim.cname_dangling"]),
        ({("s1._domainkey.example.test", "TXT"): ["v=DKIM1; k=rsa; p={2048}; n=" + "x" * 6000]}, []),
        ({(D, "TXT"): ["v=spf1 mx include:_spf.provider.test -all", *(f"note={n}-{'x' * 200}" for n in range(150))]},
         ["dns.unavailable"]),
        ({("_dmarc.example.test", "TXT"): ["v=DMARC1; p=none; rua=mailto:d@example.test"]}, ["dmarc.policy_weak"]),
    ],
)  # fmt: skip
async def test_what_is_published(
    world: Any, serve: Callable[..., HostPort], tmp_path: Path, changes: Zone, found: list[str]
) -> None:
    """Through a resolver, beside which the zone's own server is asked. Also a key that does not fit
    in a datagram, and records that nobody should have to read.
    """
    server = serve(changes)
    with resolver(tmp_path / "resolver", server) as through:
        result = await ask(world, through, authoritative=[str(server)])
    assert [
        reason for reason in dict.fromkeys(reasons(result)) if reason != "spf.sender_none"
    ] == found


async def test_a_zone_that_the_server_does_not_have_is_unknown(
    world: Any, serve: Callable[..., HostPort]
) -> None:
    result = await ask(world, serve(), domain="other.test")
    assert set(reasons(result)) == {"dns.unavailable"}
    assert result.outcome == "unknown"
