"""The client of the running daemon. It imports nothing slow, so that `probed reload` is quick."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NAME = "control.sock"
ANSWER_LIMIT = 256 << 20
"""Bytes of a response: the results of all checks, at most."""


class UnreachableError(Exception):
    """No daemon answers. The text lists the sockets that were tried."""


def places(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the possible paths of the socket: $PROBED_CONTROL (empty: none), the service manager's
    runtime directory, the user's, /run/probed, and last a directory of the user in /tmp.
    """
    named = environ.get("PROBED_CONTROL")
    if named is not None:
        if named:
            yield Path(named)
        return
    if runtime := environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        yield Path(runtime) / NAME
    if user := environ.get("XDG_RUNTIME_DIR"):
        yield Path(user) / "probed" / NAME
    yield Path("/run/probed") / NAME
    yield Path(f"/tmp/probed-{os.getuid()}") / NAME  # noqa: S108  # the server makes it 0700


def send_request(
    request: Mapping[str, Any], *, path: str | None = None, timeout: float = 120.0
) -> dict[str, Any]:
    """Return the daemon's response. Raises UnreachableError; its text is for people."""
    tried: list[str] = []
    for place in [Path(path)] if path else places(os.environ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            try:
                if path is None:
                    _refuse_foreign(place.parent)
                sock.connect(str(place))
            except OSError as error:
                tried.append(f"{place}: {error.strerror or error}")
                continue
            return _exchange(sock, place, request)
    attempts = "\n".join(f"  {line}" for line in tried)
    raise UnreachableError(f"no running daemon found:\n{attempts}\ngive its socket with --socket")


def _refuse_foreign(folder: Path) -> None:
    """Raise PermissionError for a directory in /tmp that another user could have made."""
    if folder.parent == Path("/tmp") and folder.lstat().st_uid not in {0, os.geteuid()}:  # noqa: S108
        raise PermissionError(errno.EPERM, "the directory belongs to another user")


def _exchange(sock: socket.socket, place: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        sock.sendall(json.dumps(request).encode() + b"\n")
        parts: list[bytes] = []
        size = 0
        while part := sock.recv(1 << 16):
            parts.append(part)
            size += len(part)
            if size > ANSWER_LIMIT:
                raise UnreachableError(f"{place}: the response is too long")
        answer = json.loads(b"".join(parts))
    except OSError as error:
        why = (
            "timed out waiting for the response"
            if isinstance(error, TimeoutError)
            else error.strerror
        )
        raise UnreachableError(f"{place}: {why}") from None
    except ValueError:
        raise UnreachableError(f"{place}: the daemon exited before it responded") from None
    if not isinstance(answer, dict):
        raise UnreachableError(f"{place}: unexpected response; is this another program's socket?")
    return answer
