"""DKIM, judged by what a receiver could do with the keys that are published."""

from __future__ import annotations

from probed import Answer, Outcome, Reasons, Said, Vantage
from probed.mail import TempFail
from probes.email_auth.keys import Key, KeyProblem, KeyRecordError, parse_key
from probes.email_auth.reasons import EmailAuthReason as Why
from probes.email_auth.settings import Selector
from probes.email_auth.verdicts import AuthPart

WEAK = 1024
"""RSA keys of fewer bits are not to be used by anybody (RFC 8301 section 3.2)."""
_PROBLEMS: dict[KeyProblem, Reasons] = {
    KeyProblem.SYNTAX: Why.DKIM_SYNTAX,
    KeyProblem.REVOKED: Why.DKIM_REVOKED,
    KeyProblem.INVALID: Why.DKIM_KEY_INVALID,
    KeyProblem.UNUSABLE: Why.DKIM_UNUSABLE,
}


def key_name(selector: str, domain: str) -> str:
    """Where a key record stands (RFC 6376 section 3.6.2.1)."""
    return f"{selector}._domainkey.{domain}".lower()


async def judge_selector(
    part: AuthPart, vantage: Vantage, *, selector: Selector, domain: str
) -> None:
    """The key at one selector. `data` of the part is whether signatures with it can be verified."""
    name = key_name(selector.selector, domain)
    part.data = False
    answer = await vantage.query(name, "TXT")
    if answer.temporary or answer.said is Said.CNAME_ONLY:
        part.temporary(TempFail(name, "TXT", answer.reason))
        return
    if answer.said is not Said.ANSWER:
        _judge_absent(part, selector, answer)
        return
    if selector.expect == "absent":
        part.failed(Why.DKIM_PRESENT, f"{name} holds a record where none may be.")
        return
    if len(answer.rows) > 1:
        text = f"{name} holds {len(answer.rows)} records: which one counts is left to chance."
        part.failed(Why.DKIM_MULTIPLE, text, records=list(answer.rows[:5]))
        return
    record = answer.rows[0]
    try:
        key = parse_key(record)
    except KeyRecordError as error:
        revoked = error.problem is KeyProblem.REVOKED
        if revoked and selector.expect == "revoked":
            return
        reason = _PROBLEMS[error.problem]
        why = "" if revoked else f" ({error})"
        part.failed(reason, f"{reason.sentence.rstrip('.')}: {name}{why}.", record=record)
        return
    if selector.expect == "revoked":
        part.failed(Why.DKIM_PRESENT, f"{name} holds a key that should be revoked.", record=record)
        return
    part.run.measure("probed.dkim.key.bits", key.bits, {"selector": selector.selector})
    _judge_key(part, selector, key, name)


def _judge_absent(part: AuthPart, selector: Selector, answer: Answer) -> None:
    if selector.expect == "absent":
        return
    level = Outcome.FAILED if selector.expect == "present" else Outcome.DEGRADED
    if answer.aliases:
        ways = " → ".join([answer.name, *answer.aliases])
        part.find(level, Why.DKIM_CNAME_DANGLING, f"The DKIM key's alias leads to nothing: {ways}.")
        return
    why = "does not exist" if answer.said is Said.NXDOMAIN else "holds no TXT record"
    part.find(level, Why.DKIM_MISSING, f"There is no DKIM key: {answer.name} {why}.")


def _judge_key(part: AuthPart, selector: Selector, key: Key, name: str) -> None:
    rsa = key.type == "rsa"
    if rsa and key.bits < WEAK:
        text = f"The DKIM key at {name} has {key.bits} bits: receivers ignore it."
        part.failed(Why.DKIM_KEY_WEAK, text)
        return
    expected = selector.public_key_sha256
    if expected is not None and expected.lower() != key.sha256:
        text = f"The DKIM key at {name} is not the one expected: signatures will not verify."
        part.failed(Why.DKIM_KEY_MISMATCH, text, found=key.sha256, expected=expected.lower())
        return
    part.data = True
    if rsa and key.bits < selector.min_bits:
        text = f"The DKIM key at {name} has {key.bits} bits, fewer than {selector.min_bits}."
        part.degraded(Why.DKIM_KEY_WEAK, text)
    if key.testing:
        text = f"The DKIM key at {name} is in test mode (t=y): receivers ignore failures."
        part.degraded(Why.DKIM_TESTING, text)
