"""Embedded peers of `probed demo`, on loopback. Each can be broken and mended."""

from __future__ import annotations

from probed.demo.peer import DemoPeer, DemoUnavailable, Setting
from probed.demo.peers import PEERS
from probed.demo.stage import Demo

__all__ = ["PEERS", "Demo", "DemoPeer", "DemoUnavailable", "Setting"]
