"""The DNS lookups of an evaluation, as a protocol and over the DNS client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from probed.reasons import Reason, Reasons

if TYPE_CHECKING:
    from probed.net.vantage import Vantage


@dataclass(frozen=True, slots=True)
class Found:
    """The records of a name: TXT as bytes, addresses and names as text, MX as
    `(preference, name)`. `exists` is false where the name itself does not exist.
    """

    rows: tuple[Any, ...] = ()
    exists: bool = True


class TempFail(Exception):  # noqa: N818  # the RFCs' own word
    """DNS could not say; asking later may help."""

    def __init__(self, name: str, kind: str, reason: Reasons) -> None:
        super().__init__(f"{kind} {name}: {reason}")
        self.name = name
        self.kind = kind
        self.reason = reason


class Lookup(Protocol):
    """Asks for the records of one type of a name; follows aliases. Raises TempFail."""

    async def __call__(self, name: str, kind: str, /) -> Found: ...


def through(vantage: Vantage) -> Lookup:
    """Look up through a vantage, within its budget of queries."""
    from probed.net.answer import Said  # noqa: PLC0415  # dnspython

    async def lookup(name: str, kind: str, /) -> Found:
        answer = await vantage.query(name, kind)
        if answer.temporary or answer.said is Said.CNAME_ONLY:
            raise TempFail(name, kind, answer.reason)
        if answer.cut and kind == "TXT":
            raise TempFail(name, kind, Reason.DNS_TOO_LARGE)
        return Found(answer.rows, exists=answer.said is not Said.NXDOMAIN)

    return lookup
