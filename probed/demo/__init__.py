"""The embedded peers of `probed demo`: everything can be seen working, and breaking, on loopback."""

from __future__ import annotations

from probed.demo.peer import DemoUnavailable, Peer, Setting
from probed.demo.peers import PEERS
from probed.demo.stage import Demo

__all__ = ["PEERS", "Demo", "DemoUnavailable", "Peer", "Setting"]
