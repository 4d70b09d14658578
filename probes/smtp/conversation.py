"""A dialogue with a relay as a part of a run: its troubles are findings with reasons of this kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from probed import CertificateAge, HostPort, Run, judge_certificate
from probed.mail.hold import Holds
from probed.mail.smtp import Caller, Dialogue, Manner, Server, SmtpError, Trouble
from probes.smtp.reasons import SmtpReason
from probes.smtp.settings import Auth, Relay, RelayTls


def dialogue_with(
    run: Run,
    relay: Relay,
    manner: Manner,
    *,
    tls: RelayTls,
    certificate: CertificateAge,
    auth: Auth | None,
    holds: Holds,
    then: tuple[str, ...] = (),
    address: HostPort | None = None,
) -> Dialogue:
    """Return the dialogue, not opened yet. `then` are the phases that follow the login; `address` is
    for a relay of which each address is tried.
    """
    caller = Caller(
        run,
        run.network,
        run.connect,
        run.remaining,
        run.degraded,
        reason_of,
        partial(judge_certificate, run, certificate),
    )
    server = Server(
        address or relay.address,
        relay.host,
        relay.tls,
        tls.options,
        relay.server_name or tls.server_name,
        tls.min_version,
    )
    login = None if auth is None else auth.login
    return Dialogue(caller, server, manner, login=login, holds=holds, then=then)


@asynccontextmanager
async def opened(run: Run, dialogue: Dialogue) -> AsyncIterator[Dialogue]:
    """Hold the dialogue. The trouble that ends it fails the run."""
    try:
        async with dialogue.open():
            yield dialogue
    except SmtpError as error:
        run.fail(error.reason, error.message, evidence=error.evidence)


def reason_of(trouble: Trouble) -> SmtpReason:
    """Return the reason that a trouble is: they have the same names."""
    return SmtpReason[trouble.name]
