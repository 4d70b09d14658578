"""From the driver's exceptions to reasons, by type and code; never by text, but where Atlas leaves
nothing else. Codes: src/mongo/base/error_codes.yml of the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from probed import Outcome, ProbeError, Reason
from probes.mongo.part import CommandError, Lost
from probes.mongo.reasons import MongoReason

_CODES: dict[int, MongoReason] = {
    **dict.fromkeys((11, 18, 334), MongoReason.AUTH_REJECTED),
    13: MongoReason.PERMISSION,
    50: MongoReason.TIMEOUT,
    **dict.fromkeys((59, 115, 303, 40324), MongoReason.UNSUPPORTED),
    **dict.fromkeys((91, 11600), MongoReason.SHUTTING_DOWN),
    **dict.fromkeys((189, 10107, 11602, 13435, 13436), MongoReason.NOT_PRIMARY),
    462: MongoReason.OVERLOADED,
}
_ATLAS = 8000
"""AtlasError, for everything that its proxy refuses. [not verified on Atlas]"""
_UNJUDGED = {MongoReason.AUTH_REJECTED, MongoReason.PERMISSION, MongoReason.UNSUPPORTED}
_NAME = re.compile(r"[A-Za-z0-9]{1,64}\Z")


def explain(error: Exception, right: str) -> ProbeError:
    """Return the error to raise instead. `right` is the privilege that the command needs."""
    if isinstance(error, OperationFailure):
        return _refused(error, error.code or 0, error.details, right)
    if isinstance(error, NotPrimaryError) and isinstance(error.details, Mapping):
        # What the driver takes for a sign that it must look for another server.
        return _refused(error, error.details.get("code"), error.details, right)
    if isinstance(error, WaitQueueTimeoutError):
        return Lost(MongoReason.OVERLOADED)
    if isinstance(error, BSONError | ProtocolError):
        return Lost(MongoReason.PROTOCOL)
    if isinstance(error, NetworkTimeout | ServerSelectionTimeoutError):
        return Lost(MongoReason.TIMEOUT)
    if isinstance(error, AutoReconnect | ConnectionFailure):
        return Lost(Reason.CONNECT_CLOSED)
    if isinstance(error, ConfigurationError) and "wire version" in str(error):
        return ProbeError(MongoReason.INCOMPATIBLE)
    if isinstance(error, PyMongoError) and error.timeout:
        return Lost(MongoReason.TIMEOUT)
    return Lost(MongoReason.PROTOCOL)


def _refused(
    error: PyMongoError, code: object, details: Mapping[str, Any] | None, right: str
) -> CommandError:
    code = code if isinstance(code, int) else 0
    details = details or {}
    name = details.get("codeName")
    named = f"{code} {name}" if isinstance(name, str) and _NAME.match(name) else str(code)
    if code == _ATLAS:
        bad = "bad auth" in str(details.get("errmsg", ""))
        reason = MongoReason.AUTH_REJECTED if bad else MongoReason.UNSUPPORTED
    elif error.has_error_label("SystemOverloadedError"):
        reason = MongoReason.OVERLOADED
    else:
        reason = _CODES.get(code, MongoReason.COMMAND)
    message = f"{reason.sentence} ({named})"
    if reason is MongoReason.PERMISSION:
        message = f"Our user lacks the right to {right}."
    level = Outcome.UNKNOWN if reason in _UNJUDGED else Outcome.FAILED
    return CommandError(reason, message, level, code)
