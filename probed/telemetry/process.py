"""Resource usage of this process, read from /proc on each scrape; empty without /proc."""

from __future__ import annotations

import asyncio
import os

from probed.telemetry.series import Pairs

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def cpu_time() -> dict[Pairs, float]:
    """Return seconds of CPU time, by mode."""
    times = os.times()
    return {(("cpu.mode", "user"),): times.user, (("cpu.mode", "system"),): times.system}


def memory() -> dict[Pairs, float]:
    """Return bytes of resident memory (proc(5), `statm`)."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY)
        try:
            fields = os.read(descriptor, 200).split()
        finally:
            os.close(descriptor)
        return {(): int(fields[1]) * _PAGE}
    except (OSError, ValueError, IndexError):
        return {}


def open_files() -> dict[Pairs, float]:
    """Return the number of open file descriptors, without the one used for counting."""
    try:
        return {(): len(os.listdir("/proc/self/fd")) - 1}  # noqa: PTH208  # Path objects for each would cost
    except OSError:
        return {}


def tasks() -> dict[Pairs, float]:
    """Return the number of tasks in the running event loop; empty if none runs."""
    try:
        return {(): len(asyncio.all_tasks())}
    except RuntimeError:
        return {}
