"""Logs on standard error: a line for a person on a terminal, a line with its priority to the journal,
else a JSON object a line.
"""

from __future__ import annotations

import json
import logging
import os
import sys

from probed.documents import timestamp
from probed.systemd import under_journal
from probed.text.redact import Redactor

_EXTRAS = ("check", "verdict", "trace_id")
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error",
           "CRITICAL": "error"}  # fmt: skip
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
_LINE = 2000


def set_up_logging(redactor: Redactor, *, level: int = logging.INFO) -> None:
    """Log to standard error, with every text cleaned; libraries are quiet."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter()(redactor))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("probed").setLevel(level)


def _formatter() -> type[_Cleaned]:
    if sys.stderr.isatty():
        return _ForPeople
    return _ForTheJournal if under_journal(os.environ, sys.stderr.fileno()) else _ForPrograms


class _Cleaned(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def text(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            # The text of an exception may hold anything: its type and the place must do.
            message += f" ({record.exc_info[0].__name__})"
        return self._redactor.clean(message, _LINE)


class _ForPeople(_Cleaned):
    def format(self, record: logging.LogRecord) -> str:
        return f"{timestamp(record.created)} {_LEVELS[record.levelname]:<7} {self.text(record)}"


class _ForTheJournal(_Cleaned):
    """A line for the journal, which adds the time; the number is the priority (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES[record.levelname]}>{self.text(record)}"


class _ForPrograms(_Cleaned):
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": timestamp(record.created),
            "level": _LEVELS[record.levelname],
            "logger": record.name,
            "message": self.text(record),
        }
        document |= {name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)}
        return json.dumps(document)
