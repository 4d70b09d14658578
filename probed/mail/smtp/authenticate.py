"""AUTH (RFC 4954): log in by one mechanism. A prompt that is not due ends the login."""

from __future__ import annotations

from functools import partial

from probed.mail.sasl import Client, PromptError
from probed.mail.smtp.exchange import Exchange
from probed.mail.smtp.replies import Reply
from probed.mail.smtp.troubles import Trouble

COMMAND_LIMIT = 512
"""Maximum size of a command with its line end, in bytes (RFC 5321). An initial response that does not fit is
sent after the prompt.
"""
ROUNDS = 4
"""Prompts that one login answers; no mechanism has more than three."""
_PROMPT, _ACCEPTED = 334, 235


async def authenticate(exchange: Exchange, mechanism: str, client: Client) -> Reply:  # noqa: RET503  # it fails
    """Return the last reply to AUTH: 235, or a refusal (4xx, 5xx).

    Any other reply, and a prompt that is not due, cancel the login and fail with `Trouble.PROTOCOL`.
    """
    protocol = exchange.protocol
    command = [b"AUTH", mechanism.upper().encode()]
    if client.initial is not None and _fits(command, client.initial):
        command.append(client.begin())
    protocol.secret = True
    try:
        reply = await exchange.reply_to(partial(protocol.execute_command, *command))
        for _ in range(ROUNDS):
            if reply.code != _PROMPT:
                break
            answer = await _answer(exchange, client, reply)
            reply = await exchange.reply_to(partial(protocol.execute_command, answer))
    finally:
        protocol.secret = False
    if reply.code >= 400 or (reply.code == _ACCEPTED and client.complete):
        return reply
    exchange.fail_trouble(Trouble.PROTOCOL, reply)


def _fits(command: list[bytes], initial: bytes) -> bool:
    return len(b" ".join([*command, initial])) + 2 <= COMMAND_LIMIT


async def _answer(exchange: Exchange, client: Client, reply: Reply) -> bytes:
    try:
        if len(reply.lines) > 1 or exchange.protocol.ahead:
            raise PromptError("The server sent more than one login prompt.")  # noqa: TRY301
        return client.answer(reply.lines[0].strip())
    except PromptError as error:
        await exchange.protocol.stream.send(b"*\r\n")
        exchange.end(Trouble.PROTOCOL, str(error), evidence=exchange.evidence(reply))
