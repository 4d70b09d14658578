"""Logs on standard error: a line for a person on a terminal, else a JSON object a line."""

from __future__ import annotations

import json
import logging
import sys

from probed.output import timestamp
from probed.redact import Redactor

_EXTRAS = ("check", "verdict", "trace_id")
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error",
           "CRITICAL": "error"}  # fmt: skip
_LINE = 2000


def set_up_logging(redactor: Redactor, *, level: int = logging.INFO) -> None:
    """Send our logs to standard error, every text of theirs cleaned; keep the libraries quiet."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_ForPeople(redactor) if sys.stderr.isatty() else _ForPrograms(redactor))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("probed").setLevel(level)


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
