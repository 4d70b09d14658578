"""Throw-away certificate authority, and server TLS contexts with good and bad certificates."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme
    from cryptography import x509


@dataclass(frozen=True)
class Issued:
    """A certificate with its key. `chain` is sent by the server, leaf first; times are seconds since the
    epoch. With `clients` the server requires client certificates of that authority. `security` is
    OpenSSL's security level; at 0 a server accepts broken algorithms.
    """

    key: bytes
    chain: bytes
    not_before: float
    not_after: float
    clients: Authority | None = None
    security: int | None = None

    @cached_property
    def context(self) -> ssl.SSLContext:
        """TLS context of a server with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.security is not None:
            context.set_ciphers(f"DEFAULT:@SECLEVEL={self.security}")
        # OpenSSL reads files only; this one is in memory, so that it does not block the event loop.
        descriptor = os.memfd_create("certificate")
        try:
            os.pwrite(descriptor, self.key + self.chain, 0)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        if self.clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.clients.pem.decode("ascii"))
        return context

    def files(self, folder: Path) -> tuple[Path, Path]:
        """Write the chain and the key as PEM files to `folder`, and return their paths."""
        chain, key = folder / "certificate.pem", folder / "key.pem"
        chain.write_bytes(self.chain)
        key.write_bytes(self.key)
        key.chmod(0o600)
        return chain, key


class Authority:
    """A certificate authority that only clients with its certificate trust."""

    def __init__(self) -> None:
        import trustme  # noqa: PLC0415  # only tests and the demo need it

        self._ca = trustme.CA()

    @property
    def pem(self) -> bytes:
        """Certificate of the authority, as PEM."""
        return self._ca.cert_pem.bytes()

    def pem_file(self, folder: Path) -> Path:
        """Write the certificate of the authority as a PEM file to `folder`, and return its path."""
        path = folder / "ca.pem"
        path.write_bytes(self.pem)
        return path

    def issue(
        self,
        *names: str,
        expired: bool = False,
        not_yet: bool = False,
        days: float = 90.0,
        clients: Authority | None = None,
    ) -> Issued:
        """Return a certificate for these host names and addresses, valid for `days` from now.

        With `expired` it expired yesterday, with `not_yet` it becomes valid tomorrow. With `clients`
        the server requires a client certificate of that authority.
        """
        return _issued(self._ca, names, _span(days, expired, not_yet), clients=clients)

    def incomplete(self, *names: str) -> Issued:
        """Return a certificate of an intermediate authority, which the server does not send."""
        return _issued(self._ca.create_child_ca(), names, _span(90.0), links=1)

    def chained(self, *names: str) -> Issued:
        """Return a certificate of an intermediate authority, which the server sends."""
        return _issued(self._ca.create_child_ca(), names, _span(90.0))

    def weak(self, *names: str) -> Issued:
        """Return a certificate that is signed with SHA-1."""
        issued = self.issue(*names)
        chain = _sign_with_sha1(issued.chain, self._ca.private_key_pem.bytes())
        return replace(issued, chain=chain, security=0)

    @staticmethod
    def self_signed(*names: str) -> Issued:
        """Return a self-signed certificate."""
        span = _span(90.0)
        key, certificate = _sign_self(names, span)
        return Issued(key, certificate, span[0].timestamp(), span[1].timestamp())

    def of_kind(self, kind: str, name: str) -> Issued:
        """Return a certificate of one of the `KINDS` for a server named `name`."""
        return KINDS[kind](self, name)


KINDS: Mapping[str, Callable[[Authority, str], Issued]] = MappingProxyType(
    {
        "good": lambda ca, name: ca.issue(name),
        "expired": lambda ca, name: ca.issue(name, expired=True),
        "not_yet_valid": lambda ca, name: ca.issue(name, not_yet=True),
        "wrong_name": lambda ca, _: ca.issue("another.example"),
        "self_signed": lambda ca, name: ca.self_signed(name),
        "incomplete_chain": lambda ca, name: ca.incomplete(name),
        "sha1": lambda ca, name: ca.weak(name),
        "stranger": lambda _, name: Authority().issue(name),
        "requires_client": lambda ca, name: ca.issue(name, clients=ca),
    }
)
"""Good and bad certificates by name (a closed set)."""


def _span(days: float, expired: bool = False, not_yet: bool = False) -> tuple[datetime, datetime]:
    now = datetime.now(UTC).replace(microsecond=0)
    day = timedelta(days=1)
    if expired:
        return now - 30 * day, now - day
    if not_yet:
        return now + day, now + 30 * day
    return now - day, now + days * day


def _issued(
    ca: trustme.CA,
    names: tuple[str, ...],
    span: tuple[datetime, datetime],
    *,
    links: int | None = None,
    clients: Authority | None = None,
) -> Issued:
    leaf = ca.issue_cert(*names, common_name=names[0], not_before=span[0], not_after=span[1])
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems[:links])
    key = leaf.private_key_pem.bytes()
    return Issued(key, chain, span[0].timestamp(), span[1].timestamp(), clients)


def _sign_self(names: tuple[str, ...], span: tuple[datetime, datetime]) -> tuple[bytes, bytes]:
    from cryptography import x509  # noqa: PLC0415  # 50 ms that most servers do not need
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, names[0])])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8
    return (
        key.private_bytes(pem, plain, serialization.NoEncryption()),
        certificate.public_bytes(pem),
    )


_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_WITH_SHA1 = bytes.fromhex("300906072a8648ce3d0401")
"""The AlgorithmIdentifiers ecdsa-with-SHA256 and ecdsa-with-SHA1 (RFC 5758, RFC 3279)."""


def _sign_with_sha1(pem: bytes, key: bytes) -> bytes:
    """Sign a certificate again with SHA-1, by hand: cryptography does not support SHA-1."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    signer = serialization.load_pem_private_key(key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    body = x509.load_pem_x509_certificate(pem).tbs_certificate_bytes
    start = 2 + (body[1] & 0x7F)  # a length over 127 bytes says first how long it is itself
    body = _der(0x30, body[start:].replace(_WITH_SHA256, _WITH_SHA1))
    signature = signer.sign(body, ec.ECDSA(hashes.SHA1()))  # noqa: S303  # that is the point
    whole = _der(0x30, body + _WITH_SHA1 + _der(0x03, b"\0" + signature))
    return ssl.DER_cert_to_PEM_cert(whole).encode("ascii")


def _der(tag: int, content: bytes) -> bytes:
    """Return one DER value (X.690)."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _general(name: str) -> x509.GeneralName:
    from ipaddress import ip_address  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
