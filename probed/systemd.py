"""What a service manager is told: ready, reloading, stopping, alive, and how things are.

The protocol is a datagram of `NAME=value` lines (sd_notify(3)); its libraries are unmaintained.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

STATUS_LIMIT = 500
"""Characters of a status."""


class Notifier:
    """Tells the service manager that started us, if one did; never raises.

    `patience` is how many seconds it waits for a word from us until it ends us; 0 where it does not
    (sd_watchdog_enabled(3)).
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading "@" stands for the zero byte of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.patience = _patience(environ) if address else 0.0
        self._status = ""

    def __bool__(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Also after a reload, whatever became of it."""
        self._send("READY=1", self._changed(status))

    def reloading(self) -> None:
        """Without the time, `Type=notify-reload` would wait until it times out."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        self._send("STOPPING=1", self._changed("stopping"))

    def alive(self, status: str) -> None:
        """To be called at least each `patience` seconds, and only while work gets done."""
        self._send("WATCHDOG=1" if self.patience else "", self._changed(status))

    def _changed(self, status: str) -> str:
        status = status[:STATUS_LIMIT].replace("\n", " ")
        if status == self._status:
            return ""
        self._status = status
        return f"STATUS={status}"

    def _send(self, *lines: str) -> None:
        message = "\n".join(filter(None, lines))
        if not self._address or not message:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError:
            pass  # who does not listen need not know


def _patience(environ: Mapping[str, str]) -> float:
    """Not what was said to another process, whose environment we have inherited."""
    limit, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(limit) / 1e6


def under_journal(environ: Mapping[str, str], descriptor: int) -> bool:
    """Whether what is written there goes to the journal (systemd.exec(5), `JOURNAL_STREAM`)."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
