"""Faults of the network between two machines, which two network namespaces stand for."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.debian("iproute2"),
    pytest.mark.debian("nftables"),
]

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
OURS, THEIRS = "192.0.2.1", "192.0.2.2"
OURS6, THEIRS6 = "2001:db8::1", "2001:db8::2"
TIMEOUT = 0.5
LATE = 0.4
"""Seconds that a run may take over its time-out on a busy machine."""


def tool(*arguments: str, text: str | None = None) -> None:
    done = subprocess.run(
        arguments, input=text, text=True, capture_output=True, check=False, env={"PATH": PATH}
    )
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"


@dataclass
class Net:
    """Two namespaces and the link between them. The names are unique to this process."""

    ours: str
    theirs: str

    @property
    def interface(self) -> str:
        return f"{self.ours}v"

    def inside(self, namespace: str) -> list[str]:
        return ["ip", "netns", "exec", namespace]

    def filter(self, rule: str, hook: str = "input") -> None:
        """One rule of the peer's firewall, for IPv4 and IPv6."""
        chain = f"chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}"
        tool(*self.inside(self.theirs), "nft", "-f", "-", text=f"table inet f {{ {chain}; }}")

    def shape(self, *discipline: str) -> None:
        """How what the peer sends is queued."""
        device = f"{self.theirs}v"
        tool(
            *self.inside(self.theirs), "tc", "qdisc", "replace", "dev", device, "root", *discipline
        )

    def restore(self) -> None:
        """A link on which nothing is wrong."""
        tool(*self.inside(self.theirs), "nft", "flush", "ruleset")
        self.shape("pfifo")
        for side, six in ((self.ours, OURS6), (self.theirs, THEIRS6)):
            tool("ip", "-n", side, "link", "set", f"{side}v", "up")
            # Addresses of IPv6 go with the link.
            tool("ip", "-n", side, "addr", "replace", f"{six}/64", "dev", f"{side}v", "nodad")


@pytest.fixture(scope="module")
def pair() -> Iterator[Net]:
    net = Net(f"pb{os.getpid()}a", f"pb{os.getpid()}b")
    try:
        for side in (net.ours, net.theirs):
            tool("ip", "netns", "add", side)
            tool("ip", "-n", side, "link", "set", "lo", "up")
        a, b = f"{net.ours}v", f"{net.theirs}v"
        tool("ip", "-n", net.ours, "link", "add", a, "type", "veth", "peer", b, "netns", net.theirs)
        for side, four, six in ((net.ours, OURS, OURS6), (net.theirs, THEIRS, THEIRS6)):
            tool("ip", "-n", side, "link", "set", f"{side}v", "up", "gso_max_size", "1400")
            tool("ip", "-n", side, "addr", "add", f"{four}/24", "dev", f"{side}v")
            tool("ip", "-n", side, "addr", "add", f"{six}/64", "dev", f"{side}v", "nodad")
        # Every packet is answered that is refused, not one a second.
        for limit in ("ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"):
            set_it = f"echo 0 >/proc/sys/net/{limit}"
            tool(*net.inside(net.theirs), "sh", "-c", set_it)
        yield net
    finally:
        for side in (net.ours, net.theirs):
            subprocess.run(["ip", "netns", "del", side], check=False, env={"PATH": PATH})


@pytest.fixture(scope="module")
def far(pair: Net, peers_at: Callable[..., Any]) -> Any:
    """Peers on the other side."""
    return peers_at(THEIRS, *pair.inside(pair.theirs))


@pytest.fixture
def net(pair: Net) -> Iterator[Net]:
    yield pair
    pair.restore()


Run = Callable[..., dict[str, tuple[str, str]]]


@pytest.fixture
def check(pair: Net, far: Any, probed: str, tmp_path: Path) -> Run:
    """Run a check of each kind on our side. Gives outcome and worst reason by check."""
    ports = far.ports
    config = tmp_path / "probed.yaml"

    def run(*more: str, host: str = THEIRS, timeout: float = TIMEOUT) -> dict[str, tuple[str, str]]:
        checks = [
            f"name: tcp, probe: tcp, address: '{host}:{ports['line']}', expect: '^220 '",
            f"name: gateway, probe: gateway, url: 'http://{host}:{ports['http']}/health'",
            f"name: tls, probe: tls, address: '{host}:{ports['tls']}', tls: {{ca: {far.ca}}}",
            f"name: dns, probe: dns, query: peer.example.com, server: '{host}:{ports['dns']}'",
            *more,
        ]
        config.write_text(
            f"service: {{resolvers: ['{THEIRS}:{ports['dns']}']}}\n"
            f"defaults: {{interval: 60s, timeout: {timeout * 1000:.0f}ms}}\n"
            "checks:\n" + "".join(f"  - {{{check}}}\n" for check in checks)
        )
        command = [
            *pair.inside(pair.ours),
            probed,
            "check",
            "--all",
            "-o",
            "json",
            "-c",
            str(config),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode in {0, 1, 2, 3}, done.stderr
        found = {}
        for result in json.loads(done.stdout)["results"]:
            # The deadline covers the first attempt and its confirmation.
            earlier = sum(attempt["duration_s"] for attempt in result["earlier_attempts"])
            assert earlier + result["duration_s"] <= timeout + LATE, result
            reasons = [finding["reason"] for finding in result["findings"]]
            found[result["check"]] = (result["outcome"], reasons[0] if reasons else "")
        return found

    return run


OK = ("ok", "")


def failed(reason: str) -> tuple[str, str]:
    return "failed", reason


def all_three(expected: tuple[str, str]) -> dict[str, tuple[str, str]]:
    return {"tcp": expected, "gateway": expected, "tls": expected}


def test_nothing_is_wrong(net: Net, check: Run) -> None:
    assert check(timeout=2.0) == {**all_three(OK), "dns": OK}


def test_black_hole(net: Net, check: Run) -> None:
    net.filter("drop")
    # What comes back over UDP is heard of no more than what does not.
    assert check() == {**all_three(failed("timeout.connect")), "dns": failed("timeout.query")}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("tcp reset", "connect.refused"),
        ("icmp type port-unreachable", "connect.refused"),
        ("icmp type host-unreachable", "connect.unreachable"),
        ("icmp type net-unreachable", "connect.unreachable"),
        # Linux gives the same error for a firewall's answer as for a host that is not there.
        ("icmp type admin-prohibited", "connect.unreachable"),
    ],
)
def test_reject(net: Net, check: Run, answer: str, reason: str) -> None:
    net.filter(f"meta l4proto tcp reject with {answer}")
    assert check(timeout=1.0) == {**all_three(failed(reason)), "dns": OK}


def test_admin_prohibited_over_ipv6_is_known_to_be_a_firewall(net: Net, check: Run) -> None:
    net.filter("meta l4proto tcp reject with icmpv6 type admin-prohibited")
    # On a link as short as this one the refusal of the first SYN comes before Linux listens for it.
    found = check(host=f"[{THEIRS6}]", timeout=1.8)
    assert found == {**all_three(failed("connect.prohibited")), "dns": failed("dns.unreachable")}


def test_a_name_server_that_is_rejected(net: Net, check: Run) -> None:
    net.filter("meta l4proto udp reject with icmp type port-unreachable")
    named = "name: named, probe: tcp, address: 'peer.example.com:9'"
    found = check(named)
    assert (found["dns"], found["named"]) == (failed("dns.unreachable"), failed("dns.unreachable"))


def test_packets_are_lost(net: Net, check: Run, far: Any) -> None:
    """A run gets through in spite of it, or fails for the reason that it took too long."""
    for hook in ("input", "output"):
        net.filter("numgen random mod 100 < 25 drop", hook)
        url = f"http://{THEIRS}:{far.ports['http']}/health"
        more = [f"name: more{n}, probe: gateway, url: '{url}'" for n in range(8)]
        for outcome, reason in check(*more, timeout=1.0).values():
            assert (outcome, reason) == OK or (
                outcome == "failed" and reason.startswith("timeout.")
            )


def test_large_packets_are_lost(net: Net, check: Run, far: Any) -> None:
    """An MTU black hole: the connection stands, small answers come, large ones never do."""
    net.filter("meta length > 1400 drop", "output")
    big = f"name: big, probe: gateway, url: 'http://{THEIRS}:{far.ports['http']}/big'"
    found = check(big, timeout=1.0)
    assert found["big"] == failed("timeout.wait")
    assert found["tls"] == failed("timeout.tls")
    assert (found["tcp"], found["gateway"], found["dns"]) == (OK, OK, OK)


def test_bandwidth(net: Net, check: Run, far: Any) -> None:
    net.shape("tbf", "rate", "64kbit", "burst", "3000", "latency", "10s")
    big = f"name: big, probe: gateway, url: 'http://{THEIRS}:{far.ports['http']}/big'"
    found = check(big, timeout=1.0)
    assert found["big"] == failed("timeout.receive")
    assert (found["tcp"], found["gateway"]) == (OK, OK)


def test_their_interface_is_down(net: Net, check: Run) -> None:
    tool("ip", "-n", net.theirs, "link", "set", f"{net.theirs}v", "down")
    assert check() == {**all_three(failed("timeout.connect")), "dns": failed("timeout.query")}


def test_a_name_whose_ipv6_address_swallows_everything(net: Net, check: Run, far: Any) -> None:
    """Happy eyeballs (RFC 8305): the address of the other family is tried beside it."""
    net.filter(f"ip6 daddr {THEIRS6} tcp dport != 0 drop")
    named = (
        f"name: named, probe: tcp, address: 'peer.example.com:{far.ports['line']}', expect: '^2'"
    )
    assert check(named, timeout=1.5)["named"] == OK


DAEMON = (
    "service: {listen: 127.0.0.1:0}\ntelemetry: {listen: 127.0.0.1:0}\n"
    "defaults: {interval: 300ms, timeout: 250ms, fail_after: 1, recover_after: 1}\n"
    "checks: [{name: web, probe: tcp, expect: '^220 ', address: 'HOST'}]\n"
)


def test_the_resolver_file_is_replaced(
    net: Net, far: Any, start: Any, until: Any, tmp_path: Path
) -> None:
    """From a name server that is not there to one that is, without a restart."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.99\n")
    mounted = f'mount --bind {file} /etc/resolv.conf; exec "$@"'
    behind = [*net.inside(net.ours), "unshare", "--mount", "sh", "-ec", mounted, "-"]
    text = DAEMON.replace("HOST", f"peer.example.com:{far.ports['line']}")
    daemon = start(text, behind=behind)
    until(lambda: daemon.transitions("web"), "it is judged")
    file.write_text(f"nameserver {THEIRS}\n")
    until(lambda: len(daemon.transitions("web")) == 2, "it is found")
    first, second = daemon.transitions("web")
    assert first.startswith("pending -> down timeout.resolve")
    assert second.startswith("down -> up")
    assert daemon.stop() == 0
    daemon.sound()


def test_our_interface_is_down(net: Net, check: Run) -> None:
    """We could not judge: that is not the peer's failure."""
    tool("ip", "-n", net.ours, "link", "set", net.interface, "down")
    expected = ("unknown", "self.network")
    assert check() == {**all_three(expected), "dns": expected}


def test_our_interface_goes_down_and_comes_back(net: Net, far: Any, start: Any, until: Any) -> None:
    """It is unknown meanwhile, and never down."""
    text = DAEMON.replace("HOST", f"{THEIRS}:{far.ports['line']}")
    daemon = start(text, behind=net.inside(net.ours))
    until(lambda: len(daemon.transitions("web")) == 1, "it is up")
    tool("ip", "-n", net.ours, "link", "set", net.interface, "down")
    until(lambda: len(daemon.transitions("web")) == 2, "it is unknown")
    tool("ip", "-n", net.ours, "link", "set", net.interface, "up")
    until(lambda: len(daemon.transitions("web")) == 3, "it is up again")
    up, unknown, again = daemon.transitions("web")
    assert (up, again) == ("pending -> up", "unknown -> up")
    assert unknown.startswith("up -> unknown self.network")
    assert daemon.stop() == 0
    daemon.sound()
