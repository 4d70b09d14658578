"""The text of `/livez?verbose`, `/readyz?verbose` and `/healthz?verbose` of Kubernetes' components
(k8s.io/apiserver/pkg/server/healthz): a line for each check, then one for the whole.
"""

from __future__ import annotations

import re
from typing import Any

from probed import Outcome
from probes.gateway.health.loading import Parts, name_of
from probes.gateway.health.model import ComponentKind, HealthDocument

_CHECK = r"\[([+-])\](\S{1,400})(?: (.{0,400}))?"
_WHOLE = r"\w{1,40} check (passed|failed)\Z"
_EXCLUDED = "excluded"


def looks(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("[+]", "[-]"))


def read(value: Any) -> HealthDocument | None:
    """Without `?verbose` a good answer is `ok`. A check that was excluded was not asked. Where the
    last line is missing the whole is unknown, unless a check has failed.
    """
    if not isinstance(value, str):
        return None
    if value == "ok":
        return HealthDocument("kubernetes", Outcome.OK)
    parts = Parts()
    whole: Outcome | None = None
    for line in value.splitlines():
        check = re.match(_CHECK, line)
        if check is not None:
            excluded = (check[3] or "").startswith(_EXCLUDED)
            status = Outcome.OK if check[1] == "+" else Outcome.FAILED
            word = (Outcome.UNKNOWN, _EXCLUDED) if excluded else (status, check[1])
            parts.add((name_of(check[2]),), ComponentKind.CHECK, word)
        elif (last := re.match(_WHOLE, line)) is not None:
            whole = Outcome.OK if last[1] == "passed" else Outcome.FAILED
    if whole is None and not parts.found:
        return None
    if whole is None:
        failed = any(part.status is Outcome.FAILED for part in parts.found)
        whole = Outcome.FAILED if failed else Outcome.UNKNOWN
    return HealthDocument("kubernetes", whole, tuple(parts.found), parts.truncated)
