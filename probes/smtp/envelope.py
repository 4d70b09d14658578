"""MAIL and RCPT without DATA: would the relay take our mail. Then RSET, as if nothing had been."""

from __future__ import annotations

from probed import Outcome, Reasons
from probed.mail.smtp import Dialogue, Reply
from probes.smtp.reasons import SmtpReason
from probes.smtp.settings import Envelope, Expected

STEPS = ("mail", "rcpt", "rset")
MAIL_CODES, RCPT_CODES = (250,), (250, 251)
"""Codes that accept a sender and a recipient (RFC 5321 section 4.3.2)."""
_STORAGE = 3
"""The subject of an enhanced status that is about the mail system (RFC 3463 section 3.4)."""
_FOUND: dict[Expected, tuple[Outcome, Reasons]] = {
    "ok": (Outcome.FAILED, SmtpReason.RCPT_ACCEPTED),
    "deferred": (Outcome.DEGRADED, SmtpReason.RCPT_DEFERRED),
    "unknown": (Outcome.FAILED, SmtpReason.RCPT_UNKNOWN),
    "denied": (Outcome.FAILED, SmtpReason.RELAY_DENIED),
    "rejected": (Outcome.FAILED, SmtpReason.RCPT_REJECTED),
}


async def try_envelope(dialogue: Dialogue, envelope: Envelope) -> None:
    """Phases `mail`, `rcpt`, `rset`."""
    client = dialogue.client
    with dialogue.step("mail"):
        reply = await dialogue.reply_to(lambda: client.mail(envelope.sender.text))
        dialogue.expect(reply, *MAIL_CODES)
        if reply.code >= 400:
            if not _deferred(dialogue, reply):
                dialogue.fail(SmtpReason.SENDER_REJECTED, reply, domain=envelope.sender.domain)
            return
    with dialogue.step("rcpt"):
        reply = await dialogue.reply_to(lambda: client.rcpt(envelope.rcpt.text))
        dialogue.expect(reply, *RCPT_CODES)
        _judge(dialogue, reply, envelope)
    with dialogue.step("rset"):
        reply = await dialogue.reply_to(client.rset)
        dialogue.expect(reply, 250)
        if reply.code != 250:
            dialogue.note(f"RSET was answered by {reply.code}")


def _deferred(dialogue: Dialogue, reply: Reply) -> bool:
    if _is_storage(reply):
        dialogue.fail(SmtpReason.SERVER_STORAGE, reply)
    if reply.code >= 500:
        return False
    evidence = dialogue.evidence(reply) | {"temporary": True}
    dialogue.notice(SmtpReason.MAIL_DEFERRED, evidence=evidence)
    return True


def _judge(dialogue: Dialogue, reply: Reply, envelope: Envelope) -> None:
    kind = kind_of(reply)
    if kind in envelope.rcpt_expect:
        return
    if _is_storage(reply):
        dialogue.fail(SmtpReason.SERVER_STORAGE, reply)
    level, reason = _FOUND[kind]
    if level is Outcome.FAILED:
        dialogue.fail(reason, reply, domain=envelope.rcpt.domain)
    evidence = dialogue.evidence(reply) | {"temporary": True, "domain": envelope.rcpt.domain}
    dialogue.notice(reason, evidence=evidence)


def kind_of(reply: Reply) -> Expected:
    """Return the fate of a recipient, by code and enhanced status (RFC 5321 section 4.2.3, RFC 3463)."""
    if reply.code < 400:
        return "ok"
    if reply.code < 500:
        return "deferred"
    subject = reply.subject
    if subject is None:
        return "unknown" if reply.code == 550 else "denied" if reply.code == 554 else "rejected"
    if subject == (7, 1):
        return "denied"
    return "unknown" if subject[0] == 1 else "rejected"


def _is_storage(reply: Reply) -> bool:
    subject = reply.subject
    if subject is not None:
        return subject[0] == _STORAGE
    return reply.code in {452, 552}
