"""DKIM key records: what a verifier would make of one (RFC 6376 section 3.6.1, RFC 8301, RFC 8463)."""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from dataclasses import dataclass
from enum import StrEnum

from probes.email_auth.tags import TagError, strict

_RSA = bytes.fromhex("2a864886f70d010101")
"""rsaEncryption, 1.2.840.113549.1.1.1."""


class KeyProblem(StrEnum):
    """Why no signature can be verified with a record."""

    SYNTAX = "syntax"
    REVOKED = "revoked"
    INVALID = "invalid"
    UNUSABLE = "unusable"


class KeyRecordError(ValueError):
    """The record holds no key that a verifier would use; the text says why."""

    def __init__(self, problem: KeyProblem, why: str) -> None:
        super().__init__(why)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Key:
    """A key that verifiers use. `sha256` is of the decoded `p=`."""

    type: str
    bits: int
    sha256: str
    testing: bool


def parse_key(text: bytes) -> Key:
    """The key of a record. Raises KeyRecordError."""
    try:
        tags = strict(text.decode("ascii"))
    except UnicodeDecodeError:
        raise KeyRecordError(KeyProblem.SYNTAX, "it holds characters that are not ASCII") from None
    except TagError as error:
        raise KeyRecordError(KeyProblem.SYNTAX, str(error)) from None
    if "v" in tags and (next(iter(tags)) != "v" or tags["v"] != "DKIM1"):
        raise KeyRecordError(KeyProblem.SYNTAX, "v= is not DKIM1, or does not stand first")
    if "p" not in tags:
        raise KeyRecordError(KeyProblem.SYNTAX, "it has no p=")
    kind = tags.get("k", "rsa")
    if kind not in {"rsa", "ed25519"}:
        raise KeyRecordError(KeyProblem.UNUSABLE, "its k= is neither rsa nor ed25519")
    if "h" in tags and "sha256" not in _list(tags["h"]):
        raise KeyRecordError(KeyProblem.UNUSABLE, "its h= does not allow sha256")
    if not {"*", "email"} & set(_list(tags.get("s", "*"))):
        raise KeyRecordError(KeyProblem.UNUSABLE, "its s= does not allow email")
    coded = "".join(tags["p"].split())
    if not coded:
        raise KeyRecordError(KeyProblem.REVOKED, "its p= is empty")
    try:
        data = b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        raise KeyRecordError(KeyProblem.INVALID, "its p= is not base64") from None
    bits = _bits(kind, data)
    return Key(kind, bits, hashlib.sha256(data).hexdigest(), "y" in _list(tags.get("t", "")))


def _list(value: str) -> list[str]:
    return [item.strip() for item in value.split(":")]


def _bits(kind: str, data: bytes) -> int:
    if kind == "ed25519":
        if len(data) != 32:
            raise KeyRecordError(KeyProblem.INVALID, "an ed25519 key has 32 bytes")
        return 256
    try:
        return modulus_bits(data)
    except (ValueError, IndexError):
        raise KeyRecordError(KeyProblem.INVALID, "its p= holds no RSA key") from None


def modulus_bits(der: bytes) -> int:
    """Size of the modulus of an RSA SubjectPublicKeyInfo (RFC 5280) or RSAPublicKey (RFC 8017).

    Raises ValueError or IndexError for anything else.
    """
    inner = _element(der, 0x30)[0]
    if inner[:1] == b"\x30":
        algorithm, rest = _element(inner, 0x30)
        if _element(algorithm, 0x06)[0] != _RSA:
            raise ValueError("not RSA")
        bits = _element(rest, 0x03)[0]
        if bits[0] != 0:
            raise ValueError("unused bits")
        inner = _element(bits[1:], 0x30)[0]
    modulus, rest = _element(inner, 0x02)
    exponent, _ = _element(rest, 0x02)
    if modulus[0] & 0x80 or int.from_bytes(exponent, "big") < 3:
        raise ValueError("no modulus or exponent")
    return int.from_bytes(modulus, "big").bit_length()


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the first DER element, which has that tag, and what follows it."""
    if data[0] != tag:
        raise ValueError("another element")
    length, start = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        if not 0 < count <= 2:
            raise ValueError("a length that no record has room for")
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if len(data) < start + length:
        raise ValueError("cut off")
    return data[start : start + length], data[start + length :]
