"""An address to listen on, as it is written in the file."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from probed.fields import check_host


def _listen(value: str) -> str:
    """Return `host:port`. With port 0 the system chooses a free one."""
    host, _, port = value.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise PydanticCustomError(
            "listen", "write host:port, such as 127.0.0.1:9610; port 0 is any"
        )
    if ":" in host and not host.startswith("["):
        raise PydanticCustomError("listen", "write an IPv6 address as [::1]:9610")
    bare = check_host(host)
    return f"[{bare}]:{int(port)}" if ":" in bare else f"{bare}:{int(port)}"


Listen = Annotated[str, AfterValidator(_listen)]
