"""Which checks of a configuration one of several daemons runs. They share nothing and ask nobody.

Each check has a weight in each shard, and is run where it is highest (rendezvous hashing: Thaler and
Ravishankar, 1998): with a shard more, only what moves there moves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from probed.config import Config

MOST = 1000
_ORDINAL = re.compile(r"-([0-9]{1,4})\Z")


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` (from 0) of `total`. Each check is run by `replicas` of them."""

    index: int
    total: int
    replicas: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.total}"

    def has(self, name: str) -> bool:
        """Whether the check of that name is run here."""
        ours = _weight(name, self.index)
        heavier = 0
        for other in range(self.total):
            if other != self.index and (_weight(name, other), other) > (ours, self.index):
                heavier += 1
                if heavier >= self.replicas:
                    return False
        return True


def _weight(name: str, shard: int) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8, salt=b"%d" % shard).digest()


def parse(text: str, environ: Mapping[str, str], hostname: str, *, replicas: int = 1) -> Shard:
    """`2/5`; or `auto/5`, by `PROBED_POD_INDEX` or the number that the host's name ends in, as those
    of a StatefulSet do. Raises ValueError, whose text says what to write instead.
    """
    index, _, count = text.partition("/")
    if not re.fullmatch(r"[1-9][0-9]{0,3}", count) or int(count) > MOST:
        raise ValueError(
            f"{text!r}: write the shard as INDEX/TOTAL, such as 0/5, with up to {MOST}"
        )
    total = int(count)
    if index == "auto":
        index = environ.get("PROBED_POD_INDEX", "")
        found = _ORDINAL.search(hostname)
        if not index and found is None:
            raise ValueError(
                f"which shard of {total} this is cannot be told: set PROBED_POD_INDEX, or write it"
            )
        index = index or (found[1] if found else "")
    if not re.fullmatch(r"[0-9]{1,4}", index) or int(index) >= total:
        raise ValueError(f"there is no shard {index or '?'} of {total}: they are 0 to {total - 1}")
    if not 1 <= replicas <= total:
        raise ValueError(f"{replicas} replicas of {total} shards: write 1 to {total}")
    return Shard(int(index), total, replicas)


def cut(config: Config, shard: Shard | None) -> Config:
    """The configuration with the checks of a shard alone; references are run by every shard.

    A check does not wait for what another shard runs: between shards alerts are held back where
    they come together.
    """
    if shard is None:
        return config
    mine = [check for check in config.checks if check.reference or shard.has(check.name)]
    names = {check.name for check in mine}
    return config._replace(
        checks=tuple(
            check
            if names.issuperset(check.depends_on)
            else replace(check, depends_on=tuple(n for n in check.depends_on if n in names))
            for check in mine
        )
    )
