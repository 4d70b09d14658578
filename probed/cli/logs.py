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
from probed.text.redact import Redactor, sanitize

_EXTRAS = ("check", "verdict", "trace_id")
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error",
           "CRITICAL": "error"}  # fmt: skip
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
_LINE, _LINES, _MESSAGE = 2000, 50, 16_384
"""Characters of a line, lines of a message, and characters of a message before it is redacted."""


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

    def lines(self, record: logging.LogRecord) -> list[str]:
        """Return the lines of the message, each of them safe. Texts of others are one line when they get
        here: a line break is one of ours.
        """
        message = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            # The text of an exception may hold anything: its type and the place must do.
            message += f" ({record.exc_info[0].__name__})"
        # Redact before splitting: a secret may have several lines.
        clean = self._redactor.redact(message[:_MESSAGE]).split("\n")
        lines = [sanitize(line, _LINE) for line in clean[:_LINES]]
        return lines if len(clean) <= _LINES and len(message) <= _MESSAGE else [*lines, "…"]


class _ForPeople(_Cleaned):
    """A line for a person; further ones are indented, so that none looks like another message."""

    def format(self, record: logging.LogRecord) -> str:
        text = "\n    ".join(self.lines(record))
        return f"{timestamp(record.created)} {_LEVELS[record.levelname]:<7} {text}"


class _ForTheJournal(_Cleaned):
    """A line for the journal, which adds the time and takes each line for an entry; the number is the
    priority (sd-daemon(3)).
    """

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES[record.levelname]}>" + r"\x0a".join(self.lines(record))


class _ForPrograms(_Cleaned):
    """A JSON object, in which JSON alone escapes the line breaks of the message."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": timestamp(record.created),
            "level": _LEVELS[record.levelname],
            "logger": record.name,
            "message": "\n".join(self.lines(record)),
        }
        document |= {name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)}
        return json.dumps(document)
