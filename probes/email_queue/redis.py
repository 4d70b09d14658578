"""Queues in Redis: how long they are, and since when the oldest item waits."""

from __future__ import annotations

import json

from probed import Run
from probes.email_queue.reasons import QueueReason
from probes.email_queue.resp import Resp, RespError, Value, not_redis
from probes.email_queue.settings import Redis, RedisKey
from probes.email_queue.tally import Tally
from probes.email_queue.times import epoch_of

_LOGIN = {"NOAUTH", "WRONGPASS", "NOPERM"}


async def read_redis(run: Run, source: Redis, tally: Tally) -> None:
    """Phases `resolve`, `connect`, `tls` and `auth` where asked for, `query`."""
    async with run.connect(source.address, tls=source.tls) as stream:
        resp = Resp(stream)
        try:
            if source.password is not None:
                with run.phase("auth"):
                    user = [] if source.username is None else [source.username.text]
                    await resp.done("AUTH", *user, source.password.get_secret_value())
            with run.phase("query"):
                if source.database:
                    await resp.done("SELECT", str(source.database))
                for key in source.keys:
                    await _read(resp, key, tally)
        except RespError as error:
            told = {"said": str(error)}
            if error.word in _LOGIN or (error.word == "ERR" and "AUTH" in str(error)):
                run.fail(QueueReason.AUTH_REJECTED, evidence=told)
            run.fail(QueueReason.UNREADABLE, "Redis answers with an error.", evidence=told)


async def _read(resp: Resp, key: RedisKey, tally: Tally) -> None:
    since: float | None = None
    if key.type == "list":
        depth = await resp.count("LLEN", key.key)
        if key.time is not None and depth:
            item = await resp.command("LINDEX", key.key, "-1" if key.oldest == "last" else "0")
            if not isinstance(item, bytes | None):
                raise not_redis("The reply to LINDEX is not an item.")
            since = _time_in(item, key.time)
    elif key.type == "zset":
        depth = await resp.count("ZCARD", key.key)
        found = await resp.items("ZRANGE", key.key, "0", "0", "WITHSCORES")
        since = _number(found[1]) if len(found) == 2 else None
    else:
        depth = await resp.count("XLEN", key.key)
        found = await resp.items("XRANGE", key.key, "-", "+", "COUNT", "1")
        since = _of_stream(found)
    tally.lot(key.name or key.key, depth, None if since is None else tally.now - since)


def _time_in(item: Value, member: str) -> float | None:
    try:
        return epoch_of(json.loads(item)[member])  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _number(text: Value) -> float | None:
    return epoch_of(text.decode("ascii", "replace")) if isinstance(text, bytes) else None


def _of_stream(found: list[Value]) -> float | None:
    """The time that the first entry's id begins with, in milliseconds."""
    if not found or not isinstance(found[0], list) or not found[0]:
        return None
    identifier = found[0][0]
    return _number(identifier.split(b"-")[0]) if isinstance(identifier, bytes) else None
