"""The application's state, read from its MongoDB. Imports the driver."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from probed import HostPort, ProbeError, Run
from probes.mongo.client import Client
from probes.mongo.greeting import greet
from probes.mongo.queries import count_documents, value_at_end
from probes.mongo.reading import Document
from probes.mongo.seeds import Plan, plan
from probes.mongo.uri import parse, shows_password
from probes.stripe.drift_settings import MongoSource
from probes.stripe.reasons import StripeReason

MOST = 1_000_000_000
"""Documents that are counted."""
BUDGET = 3.0
"""Seconds that each command may take."""


async def read(source: MongoSource, run: Run) -> tuple[object, int | None]:
    """Return the greatest `last_event`, and how many subscriptions are active. Raises ProbeError,
    OSError or ssl.SSLError.
    """
    try:
        uri = parse(source.uri.get_secret_value())
        tls = uri.tls
    except (PydanticCustomError, ValidationError) as error:
        text = error.message() if isinstance(error, PydanticCustomError) else "its TLS files"
        raise ProbeError(StripeReason.SYNC_UNKNOWN, f"The uri cannot be used: {text}.") from None
    if shows_password(uri, tls):
        raise ProbeError(
            StripeReason.SYNC_UNKNOWN, "authMechanism=PLAIN without TLS would show the password."
        )
    planned = await plan(run, uri, tls)
    node, peer = await _reachable(run, planned)
    client = Client(run, node, peer, planned.login, planned.tls)
    try:
        with run.phase("query"):
            last = await value_at_end(
                client, source.database, source.collection, {}, source.last_event,
                greatest=True, budget=BUDGET,
            )  # fmt: skip
            if source.active is None:
                return last, None
            return last, await count_documents(
                client, source.database, source.active.collection, source.active.where,
                limit=MOST, budget=BUDGET,
            )  # fmt: skip
    finally:
        await client.aclose()


async def _reachable(run: Run, planned: Plan) -> tuple[HostPort, str]:
    """Return the first node that takes writes, or else the first that answers, and its address."""
    found: tuple[HostPort, str] | None = None
    fault: Exception | None = None
    for node in planned.nodes:
        try:
            peer, hello = await greet(run.network, run, node, planned.tls)
        except (ProbeError, OSError) as error:  # also ssl.SSLError
            fault = fault or error
            continue
        if _writable(hello):
            return node, peer
        found = found or (node, peer)
    if found is None:
        raise fault or ProbeError(StripeReason.SYNC_UNKNOWN, "The uri names no node.")
    return found


def _writable(hello: Document) -> bool:
    return hello.get("isWritablePrimary") is True or hello.get("ismaster") is True
