"""DKIM key records: good, revoked, weak, malformed, ed25519."""

from __future__ import annotations

import base64
import hashlib
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from probes.email_auth.keys import KeyProblem, KeyRecordError, modulus_bits, parse_key

# RFC 8463 appendix A.2, RFC 6376 appendix C.
ED25519 = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
RSA_1024 = (
    "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt"
    "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi"
    "tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)


def rsa_record(
    bits: int, kind: PublicFormat = PublicFormat.SubjectPublicKeyInfo
) -> tuple[str, bytes]:
    public = rsa.generate_private_key(65537, bits).public_key()
    der = public.public_bytes(Encoding.DER, kind)
    return base64.b64encode(der).decode(), der


@pytest.mark.parametrize("bits", [1024, 2048, 3072])
@pytest.mark.parametrize("kind", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_the_size_of_an_rsa_key(bits: int, kind: PublicFormat) -> None:
    text, der = rsa_record(bits, kind)
    key = parse_key(f"v=DKIM1; k=rsa; t=s; p={text[:40]} {text[40:]};".encode())
    assert (key.type, key.bits, key.testing) == ("rsa", bits, False)
    assert key.sha256 == hashlib.sha256(der).hexdigest()


def test_the_examples_of_the_rfcs() -> None:
    assert parse_key(ED25519.encode()).type == "ed25519"
    assert parse_key(RSA_1024.encode()).bits == 1024


@pytest.mark.parametrize(
    "text",
    ["p={}", "k=rsa;p={}", "v=DKIM1 ; h=sha1:sha256; s=email:x ; t=y:s; n=a note; x=1; p={}"],
)
def test_what_may_be_left_out_and_what_may_stand_there(text: str) -> None:
    key = parse_key(text.format(RSA_1024.rpartition("p=")[2]).encode())
    assert key.bits == 1024
    assert key.testing is ("t=y" in text)


def other_key() -> str:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return base64.b64encode(
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("v=DKIM1; p=", KeyProblem.REVOKED),
        ("v=DKIM1; k=rsa; p= ;", KeyProblem.REVOKED),
        ("v=DKIM1; k=rsa", KeyProblem.SYNTAX),
        ("", KeyProblem.SYNTAX),
        ("v=DKIM2; p=AAAA", KeyProblem.SYNTAX),
        ("v=dkim1; p=AAAA", KeyProblem.SYNTAX),
        ("p=AAAA; v=DKIM1", KeyProblem.SYNTAX),
        ("v=DKIM1; p=AAAA; p=AAAA", KeyProblem.SYNTAX),
        ("v=DKIM1; nonsense; p=AAAA", KeyProblem.SYNTAX),
        ("v=DKIM1; p=\xe9", KeyProblem.SYNTAX),
        ("v=spf1 -all", KeyProblem.SYNTAX),
        ("v=DKIM1; k=dsa; p=AAAA", KeyProblem.UNUSABLE),
        ("v=DKIM1; h=sha1; p=AAAA", KeyProblem.UNUSABLE),
        ("v=DKIM1; s=tlsrpt; p=AAAA", KeyProblem.UNUSABLE),
        ("v=DKIM1; p=!!!", KeyProblem.INVALID),
        ("v=DKIM1; p=AAA", KeyProblem.INVALID),
        ("v=DKIM1; p=AAAA", KeyProblem.INVALID),
        ("v=DKIM1; p=" + RSA_1024.rpartition("p=")[2][:100], KeyProblem.INVALID),
        ("v=DKIM1; p=" + other_key(), KeyProblem.INVALID),
        ("v=DKIM1; k=ed25519; p=AAAA", KeyProblem.INVALID),
        ("v=DKIM1; k=ed25519; p=" + RSA_1024.rpartition("p=")[2], KeyProblem.INVALID),
    ],
)
def test_what_no_verifier_would_use(text: str, problem: KeyProblem) -> None:
    with pytest.raises(KeyRecordError) as raised:
        parse_key(text.encode("latin-1"))
    assert raised.value.problem is problem


def test_an_ed25519_key_in_a_wrapping_is_none() -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeyRecordError):
        parse_key(b"v=DKIM1; k=ed25519; p=" + base64.b64encode(der))


def test_der_is_read_or_refused_wherever_it_ends() -> None:
    der = base64.b64decode(RSA_1024.rpartition("p=")[2])
    for end in range(len(der)):
        with pytest.raises((ValueError, IndexError)):
            modulus_bits(der[:end])


@pytest.mark.parametrize(
    "text", [";" * 16000, "a=;" * 5000, "p=" + "A" * 16000, "p" * 16000, "v=DKIM1;p=" + " " * 16000]
)
def test_no_record_holds_the_loop_up(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(KeyRecordError):
        parse_key(text.encode())
    assert time.perf_counter() - start < 0.05
