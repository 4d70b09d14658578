"""The credentials that each kind sends, to whom and after what, and the commands that it sends."""

from __future__ import annotations

from dataclasses import dataclass

_TLS = "TLS with a verified certificate"
_RELAY = f"{_TLS}, and EHLO over it that offers the mechanism"
_MAILBOX = f"{_TLS}, or `tls: none` with a loopback address"
_PROMPTED = "the prompt that is due"


@dataclass(frozen=True, slots=True)
class Credential:
    """One way to log in. `sent` goes to the peer when `after` has been seen, not before."""

    kind: str
    name: str
    sent: str
    after: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """The commands that a kind ever sends over a protocol, and what they change at the peer."""

    kind: str
    protocol: str
    commands: tuple[str, ...]
    writes: str = "nothing"


def _relay(kind: str) -> tuple[Credential, ...]:
    return (
        Credential(
            kind, "SMTP PLAIN", "user name and password, once; again to one empty prompt", _RELAY
        ),
        Credential(
            kind, "SMTP LOGIN", "user name; then password",
            f"{_RELAY}; `Username:` for the one, then `Password:` for the other",
        ),
        Credential(
            kind, "SMTP CRAM-MD5", "user name and HMAC-MD5 of the challenge",
            f"{_RELAY}; a challenge in the form of a message identifier",
        ),
        Credential(
            kind, "SMTP XOAUTH2", "user name and token, once; again to one empty prompt", _RELAY
        ),
    )  # fmt: skip


CREDENTIALS = (
    Credential(
        "email_queue", "Redis AUTH", "user name and password",
        f"{_TLS} where `tls` is set; else the connection: in the clear",
    ),
    Credential(
        "email_queue", "MongoDB SCRAM", "user name and proofs of the password, never the password",
        f"{_TLS} where `tls` is set; else the connection",
    ),
    *_relay("email_roundtrip"),
    Credential(
        "email_roundtrip", "IMAP PLAIN", "user name and password, once",
        f"{_MAILBOX}; {_PROMPTED}: an empty one",
    ),
    Credential(
        "email_roundtrip", "IMAP XOAUTH2", "user name and token, once",
        f"{_MAILBOX}; {_PROMPTED}: an empty one",
    ),
    Credential(
        "gateway", "HTTP headers", "the values of `headers`",
        f"{_TLS} for `https`; in the clear for `http`. To the origin of `url` only: a redirect to "
        "another origin does not get them, nor does one that leads back",
    ),
    Credential(
        "mongo", "SCRAM", "user name and proofs of the password, never the password",
        f"{_TLS} where the URI asks for it; else the connection",
    ),
    Credential(
        "mongo", "PLAIN", "user name and password", f"{_TLS}; refused without",
    ),
    Credential(
        "mongo", "MONGODB-X509", "our certificate; its key is never sent", _TLS,
    ),
    *_relay("smtp"),
    Credential(
        "stripe", "API key", "the key as a Bearer token",
        f"{_TLS}. To `api_base` only: redirects are not followed",
    ),
    Credential(
        "stripe", "drift: HTTP headers", "the values of `headers`",
        f"{_TLS} for `https`; in the clear for `http`. To that `url` only: redirects are not followed",
    ),
    Credential(
        "stripe", "drift: MongoDB", "as `mongo`", "as `mongo`",
    ),
    Credential(
        "stripe", "drift: SQL", "as the library logs in", "what the connection string asks for",
    ),
    Credential(
        "stripe", "webhook secret", "a signature (HMAC-SHA-256), never the secret",
        f"{_TLS} for `https`. To the webhook's `url` only",
    ),
)  # fmt: skip

_SUBMIT = ("EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "QUIT")
TRAFFIC = (
    Traffic("dns", "DNS", ("QUERY",)),
    Traffic("email_auth", "DNS", ("QUERY",)),
    Traffic(
        "email_queue", "Redis", ("AUTH", "SELECT", "LLEN", "LINDEX", "ZCARD", "ZRANGE", "XLEN", "XRANGE")
    ),
    Traffic(
        "email_queue", "MongoDB", ("hello", "isMaster", "saslStart", "saslContinue", "aggregate", "find")
    ),
    Traffic("email_queue", "program", ("run",), "what the program that you configure writes"),
    Traffic("email_roundtrip", "SMTP", (*_SUBMIT, "DATA"), "one mail for each run"),
    Traffic(
        "email_roundtrip", "IMAP",
        ("STARTTLS", "AUTHENTICATE", "CAPABILITY", "SELECT", "UID SEARCH", "UID FETCH", "UID STORE",
         "UID EXPUNGE"),
        "`\\Deleted` on this check's mails that are older than a day, which are expunged where the "
        "server has UIDPLUS",
    ),
    Traffic("gateway", "HTTP", ("GET",)),
    Traffic(
        "mongo", "MongoDB",
        ("hello", "isMaster", "saslStart", "saslContinue", "authenticate", "aggregate", "find",
         "profile", "replSetGetStatus", "serverStatus", "endSessions"),
    ),
    Traffic(
        "smtp", "SMTP", (*_SUBMIT, "RSET"),
        "nothing: an envelope, if one is configured, ends with RSET; DATA is never sent",
    ),
    Traffic("stripe", "HTTP to the API", ("GET",)),
    Traffic(
        "stripe", "HTTP to the webhook", ("POST",),
        "one synthetic event to your own endpoint, and one with a wrong signature",
    ),
    Traffic("stripe", "HTTP to your application", ("GET",)),
    Traffic(
        "stripe", "MongoDB", ("hello", "isMaster", "saslStart", "saslContinue", "aggregate", "find")
    ),
    Traffic("stripe", "SQL", ("the queries that you configure",), "nothing: the connection may only read"),
    Traffic("tcp", "TCP", ()),
    Traffic("tls", "TLS", ()),
)  # fmt: skip

_INTRODUCTION = """\
# Credentials and writes

<!-- Generated by `make docs` from probed/manual/credentials.py. -->

The first table says what a peer is given of a secret, and what probed has seen before. A certificate
is verified unless the check sets `tls: {verify: false}`. A peer that asks for something else, in
another order or twice, gets nothing: the login is cancelled and the run fails. A login that
a relay, a mailbox or MongoDB rejected is not repeated for a while.

| Kind | Login | What is sent | After what |
|---|---|---|---|
"""
_WRITES = """
The second table lists every command that a kind sends, and what changes at the peer.

| Kind | Protocol | Commands | Writes |
|---|---|---|---|
"""


def page() -> str:
    """Return the page `credentials.md`."""
    logins = (f"| `{c.kind}` | {c.name} | {c.sent} | {c.after} |" for c in CREDENTIALS)
    writes = (
        f"| `{t.kind}` | {t.protocol} | {', '.join(f'`{c}`' for c in t.commands) or 'none'} | {t.writes} |"
        for t in TRAFFIC
    )
    return _INTRODUCTION + "\n".join(logins) + "\n" + _WRITES + "\n".join(writes) + "\n"
