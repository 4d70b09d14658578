"""Test doubles, misbehaving peers and the probe contract suite, for the authors of probe kinds.

Everything runs on one asyncio loop and talks on 127.0.0.1 only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probed.testing.certificates import Authority, Issued
    from probed.testing.clock import FakeClock
    from probed.testing.contract import CANARY, ProbeContract, Scenario
    from probed.testing.fake_receiver import FakeReceiver
    from probed.testing.fake_stripe import FakeStripe
    from probed.testing.leaks import LeakError, no_leaks
    from probed.testing.nameserver import DnsServer, dns_server
    from probed.testing.peer import Gone, Peer
    from probed.testing.servers import BEHAVIOURS, Behaviour, Server, serve
    from probed.testing.webserver import Answer, HttpServer, Received, http_server

# The demo uses the servers without pytest: each module is imported on first use.
_HOME = {
    "Answer": "webserver",
    "Authority": "certificates",
    "BEHAVIOURS": "servers",
    "Behaviour": "servers",
    "CANARY": "contract",
    "DnsServer": "nameserver",
    "FakeClock": "clock",
    "FakeReceiver": "fake_receiver",
    "FakeStripe": "fake_stripe",
    "Gone": "peer",
    "HttpServer": "webserver",
    "Issued": "certificates",
    "LeakError": "leaks",
    "Peer": "peer",
    "ProbeContract": "contract",
    "Received": "webserver",
    "Scenario": "contract",
    "Server": "servers",
    "dns_server": "nameserver",
    "http_server": "webserver",
    "no_leaks": "leaks",
    "serve": "servers",
}

__all__ = [
    "BEHAVIOURS", "CANARY", "Answer", "Authority", "Behaviour", "DnsServer", "FakeClock",
    "FakeReceiver", "FakeStripe", "Gone", "HttpServer", "Issued", "LeakError", "Peer", "ProbeContract", "Received", "Scenario", "Server",
    "dns_server", "http_server", "no_leaks", "serve",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'probed.testing' has no attribute {name!r}")
    return getattr(import_module(f"probed.testing.{_HOME[name]}"), name)
