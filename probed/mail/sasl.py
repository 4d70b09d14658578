"""The client side of SASL (RFC 4422): a credential answers only the prompt that asks for it."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Literal, Protocol

Mechanism = Literal["plain", "login", "cram-md5", "xoauth2"]
PROMPT_LIMIT = 512
"""Maximum size of a decoded prompt, in bytes."""
_MESSAGE_ID = re.compile(rb"<[\x21-\x3b\x3d\x3f-\x7e]+@[\x21-\x3b\x3d\x3f-\x7e]+>\Z")
_PROMPTS = {"username": "user name", "user name": "user name", "password": "password"}


class PromptError(Exception):
    """The server's prompt is not the one that is due. The text is safe to show."""


class Client(Protocol):
    """One login. `initial` may be sent before the server prompts; None where it must prompt first.

    `complete` says whether the server has been given all that the mechanism sends.
    """

    @property
    def initial(self) -> bytes | None: ...
    @property
    def complete(self) -> bool: ...
    def begin(self) -> bytes:
        """Return the initial response, which counts as sent."""
        ...

    def answer(self, prompt: bytes) -> bytes:
        """Return the answer, in base64 as the prompt is. Raises PromptError."""
        ...


class Plain:
    """PLAIN (RFC 4616) and XOAUTH2 (Google, "IMAP, POP, and SMTP: OAuth2"): one message.

    An empty prompt asks for the message, once: also a server that has ignored an initial response.
    After the message of XOAUTH2, a prompt that is not empty is an error. An empty line answers it.
    """

    def __init__(self, message: str, *, explains: bool) -> None:
        self.initial: bytes | None = base64.b64encode(message.encode())
        self.complete = False
        self._message: bytes | None = self.initial
        self._explains = explains

    def begin(self) -> bytes:
        assert self.initial is not None
        self.complete = True
        return self.initial

    def answer(self, prompt: bytes) -> bytes:
        if not prompt and self._message is not None:
            answer, self._message = self._message, None
            self.complete = True
            return answer
        if prompt and self.complete and self._explains:
            self._explains, self._message = False, None
            return b""
        raise PromptError("The server sent a login prompt that was not due.")


class Login:
    """LOGIN (draft-murchison-sasl-login): the user name, then the password, each to its prompt."""

    initial = None

    def __init__(self, username: str, password: str) -> None:
        self._due = [("user name", username), ("password", password)]

    @property
    def complete(self) -> bool:
        return not self._due

    def begin(self) -> bytes:
        raise AssertionError("LOGIN has no initial response")

    def answer(self, prompt: bytes) -> bytes:
        words = (
            _decoded(prompt).rstrip(b"\0").decode("ascii", "replace").strip().rstrip(":").strip()
        )
        asked = _PROMPTS.get(words.lower())
        due = self._due[0][0] if self._due else "nothing"
        if asked is None:
            raise PromptError("The server sent an unknown login prompt.")
        if asked != due:
            raise PromptError(f"The server asked for the {asked} where {_article(due)} was due.")
        return base64.b64encode(self._due.pop(0)[1].encode())


class CramMd5:
    """CRAM-MD5 (RFC 2195): the user name and a digest of a challenge, which must be a message id."""

    initial = None

    def __init__(self, username: str, secret: str) -> None:
        self.complete = False
        self._username = username
        self._secret = secret

    def begin(self) -> bytes:
        raise AssertionError("CRAM-MD5 has no initial response")

    def answer(self, prompt: bytes) -> bytes:
        if self.complete:
            raise PromptError("The server sent a login prompt that was not due.")
        challenge = _decoded(prompt)
        if not _MESSAGE_ID.match(challenge):
            raise PromptError("The server's CRAM-MD5 challenge is not a message identifier.")
        self.complete = True
        digest = hmac.new(self._secret.encode(), challenge, "md5").hexdigest()
        return base64.b64encode(f"{self._username} {digest}".encode())


def client_of(mechanism: Mechanism, username: str, secret: str) -> Client:
    """Return the client of a mechanism. `secret` is the password, or the token of `xoauth2`."""
    if mechanism == "login":
        return Login(username, secret)
    if mechanism == "cram-md5":
        return CramMd5(username, secret)
    if mechanism == "xoauth2":
        return Plain(f"user={username}\x01auth=Bearer {secret}\x01\x01", explains=True)
    return Plain(f"\0{username}\0{secret}", explains=False)


def _decoded(prompt: bytes) -> bytes:
    if len(prompt) > 2 * PROMPT_LIMIT:
        raise PromptError("The server's login prompt is too long.")
    try:
        decoded = base64.b64decode(prompt, validate=True)
    except ValueError:
        raise PromptError("The server's login prompt is not base64.") from None
    if len(decoded) > PROMPT_LIMIT:
        raise PromptError("The server's login prompt is too long.")
    return decoded


def _article(due: str) -> str:
    return due if due == "nothing" else f"the {due}"
