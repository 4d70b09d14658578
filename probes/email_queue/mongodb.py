"""A queue that is a collection of MongoDB. Imports the driver: it is imported with the first check
that needs it.
"""

from __future__ import annotations

from probed import ProbeError, Run
from probes.email_queue.reasons import QueueReason
from probes.email_queue.settings import Mongodb
from probes.email_queue.tally import Tally
from probes.email_queue.times import epoch_of
from probes.mongo.client import Client
from probes.mongo.greeting import say_hello
from probes.mongo.login import Login
from probes.mongo.part import CommandError
from probes.mongo.queries import count_documents, value_at_end
from probes.mongo.reasons import MongoReason

DEPTH = 1_000_000
"""Documents that are counted."""
BUDGET = 3.0
"""Seconds that each command may take."""


async def read_mongodb(run: Run, source: Mongodb, tally: Tally) -> None:
    """Count the documents and find the oldest: phases `resolve`, `connect`, `tls` if configured,
    `hello`, `query`.
    """
    async with run.connect(source.address, tls=source.tls) as stream:
        peer = stream.peer
        with run.phase("hello"):
            try:
                await say_hello(stream, secure=source.tls is not None)
            except ProbeError as error:
                if isinstance(error.reason, MongoReason):
                    run.fail(QueueReason.NOT_UNDERSTOOD, error.message)
                raise
    client = Client(run, source.address, peer, _login(source), source.tls)
    try:
        with run.phase("query"):
            try:
                await _read(client, source, tally)
            except CommandError as error:
                rejected = error.reason in {MongoReason.AUTH_REJECTED, MongoReason.PERMISSION}
                reason = QueueReason.AUTH_REJECTED if rejected else QueueReason.UNREADABLE
                run.fail(reason, evidence={"code": error.code})
            except ProbeError as error:
                if error.reason is MongoReason.PROTOCOL:
                    run.fail(QueueReason.NOT_UNDERSTOOD, error.message)
                run.fail(QueueReason.UNREADABLE, evidence={"error": error.reason.value})
    finally:
        await client.aclose()


async def _read(client: Client, source: Mongodb, tally: Tally) -> None:
    where = source.filter
    depth = await count_documents(
        client, source.database, source.collection, where, limit=DEPTH, budget=BUDGET
    )
    since = None
    if source.time is not None and depth:
        since = epoch_of(
            await value_at_end(
                client, source.database, source.collection, where, source.time,
                greatest=False, budget=BUDGET,
            )
        )  # fmt: skip
    if depth == DEPTH:
        tally.truncated = f"after {DEPTH} documents"
    tally.lot(source.collection, depth, None if since is None else tally.now - since)


def _login(source: Mongodb) -> Login:
    if source.username is None or source.password is None:
        return Login()
    return Login(
        source.username.text, source.password.get_secret_value(), source=source.auth_source
    )
