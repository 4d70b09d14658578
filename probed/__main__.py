"""The command `probed`, and `python -m probed`: it ends with a documented code, whatever happens."""

from __future__ import annotations

import errno
import gc
import os
import sys
from contextlib import suppress

UNKNOWN = 3
"""The exit code of whatever is no result of a check, a crash too: 1 would say that one is degraded."""
INTERRUPTED = 130
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


def main() -> None:
    """Entry point."""
    # What is imported is no garbage, and looking for some takes a tenth of a short command's time.
    gc.disable()
    if sys.flags.dev_mode:  # so that tracebacks are seen, and what was left open is told of
        from probed.cli import main as command  # noqa: PLC0415

        command()
        return
    _mend_streams()
    code = _run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = UNKNOWN
    except (OSError, ValueError) as error:
        _say(error)
        code = UNKNOWN
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    # All is closed and written: to free every object by itself would only take time.
    os._exit(code)


def _mend_streams() -> None:
    """Stand in for standard streams that are closed, so that no file or connection of ours gets their
    numbers; and write what their encoding lacks as an escape.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                opened = os.open(os.devnull, os.O_RDWR)
                if opened != number:
                    os.dup2(opened, number)
                    os.close(opened)
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _run() -> int:
    try:
        from probed.cli import main as command  # noqa: PLC0415

        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else UNKNOWN
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output went away
        return UNKNOWN
    except BaseException as error:  # noqa: BLE001  # whatever it is
        _say(error)
        return UNKNOWN
    return 0


def _say(error: BaseException) -> None:
    """Print one line. The text of an unknown error may hold anything; its type and place do not."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
        line = f"cannot write the output: {error.strerror}"
    elif isinstance(error, OSError) and error.errno is not None:
        what = f"{error.filename}: " if error.filename is not None else ""
        line = f"{what}{error.strerror}"
    else:
        line = f"internal error: {type(error).__name__}{_place(error)}; this is a bug (python -X dev -m probed shows more)"
    with suppress(OSError, ValueError):
        sys.stderr.write(f"probed: {line}\n")


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" at {trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"


if __name__ == "__main__":
    main()
