"""Two questions to a collection: how many documents match, and which has the least or greatest value.
For the kinds that read a collection of an application.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probed import ProbeError
from probes.mongo.client import Client
from probes.mongo.part import Call
from probes.mongo.reading import at, batch, count, milliseconds
from probes.mongo.reasons import MongoReason


async def count_documents(
    client: Client, database: str, collection: str, where: Mapping[str, Any], *,
    limit: int, budget: float,
) -> int:  # fmt: skip
    """Return how many documents match, at most `limit`; `budget` is in seconds. Raises ProbeError."""
    pipeline = [{"$match": where}, {"$limit": limit}, {"$group": {"_id": None, "n": {"$sum": 1}}}]
    command = {"aggregate": collection, "pipeline": pipeline, "cursor": {}, "comment": "probed"}
    found = batch(await client.command(_call(database, collection, command, budget)))
    number = count(found[0], "n") if found else 0.0
    if found is None or number is None:
        raise ProbeError(MongoReason.PROTOCOL, "The server's reply holds no count.")
    return int(min(number, limit))


async def value_at_end(
    client: Client, database: str, collection: str, where: Mapping[str, Any], field: str, *,
    greatest: bool, budget: float,
) -> object:  # fmt: skip
    """Return the least or greatest value of `field` (a path with dots): a date as seconds since the
    epoch, anything else as the server has it; None without a matching document. Raises ProbeError.
    """
    command = {
        "find": collection, "filter": where, "projection": {field: 1, "_id": 0},
        "sort": {field: -1 if greatest else 1}, "limit": 1, "singleBatch": True,
        "comment": "probed",
    }  # fmt: skip
    found = batch(await client.command(_call(database, collection, command, budget)))
    if found is None:
        raise ProbeError(MongoReason.PROTOCOL, "The server's reply holds no documents.")
    path = field.split(".")
    date = milliseconds(found[0], *path) if found else None
    return date / 1000 if date is not None else at(found[0] if found else None, *path)


def _call(database: str, collection: str, command: Mapping[str, Any], budget: float) -> Call:
    return Call(database, command, f"read {database}.{collection}", budget, collection)
