"""TLS contexts, one per distinct set of options, and facts of certificates."""

from __future__ import annotations

import ssl
from collections import OrderedDict
from typing import NamedTuple

from probed.model import Outcome
from probed.net.identity import IdentityError, load_identity, stamp_of
from probed.reasons import ProbeError, Reason
from probed.record import Certificate
from probed.text.redact import SecretStr, sanitize

NAME_LIMIT = 20
"""Names of a certificate that are recorded."""


class TlsOptions(NamedTuple):
    """The options of a TLS context. Paths are PEM files; `key` may also be the key itself."""

    verify: bool = True
    ca: str | None = None
    certificate: str | None = None
    key: str | SecretStr | None = None
    password: SecretStr | None = None
    alpn: tuple[str, ...] = ()


UNVERIFIED = TlsOptions(verify=False)


class Contexts:
    """A cache of TLS contexts by their options. A replaced file leads to a new context.

    Creating one with the system's authorities takes 20 to 26 ms: too long for every run.
    """

    def __init__(self) -> None:
        self._made: dict[TlsOptions, tuple[object, ssl.SSLContext]] = {}

    def get(self, options: TlsOptions) -> ssl.SSLContext:
        """Return the context for these options. Raises ProbeError `self.permission` if a file cannot be
        used.
        """
        try:
            stamp = stamp_of(options.ca, options.certificate, options.key)
            found = self._made.get(options)
            if found is not None and found[0] == stamp:
                return found[1]
            context = _build(options)
        except IdentityError as error:
            message = f"The client certificate cannot be used ({options.certificate}): "
            message += ": ".join(filter(None, (error.setting, str(error))))
            raise ProbeError(Reason.SELF_PERMISSION, message + ".", level=Outcome.UNKNOWN) from None
        except (OSError, ssl.SSLError, ValueError) as error:
            files = (options.ca, options.certificate, options.key)
            named = ", ".join(path for path in files if isinstance(path, str))
            raise ProbeError(
                Reason.SELF_PERMISSION,
                f"The TLS files cannot be used ({named}): {type(error).__name__}.",
                level=Outcome.UNKNOWN,
            ) from None
        self._made[options] = (stamp, context)
        return context


def _build(options: TlsOptions) -> ssl.SSLContext:
    if options.verify:
        context = ssl.create_default_context(cafile=options.ca)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.certificate:
        load_identity(context, options.certificate, options.key, options.password)
    if options.alpn:
        context.set_alpn_protocols(list(options.alpn))
    return context


class Certificates:
    """A cache of certificate facts by DER bytes: a peer presents the same certificate for months."""

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._seen: OrderedDict[tuple[bytes, bool], Certificate] = OrderedDict()

    def of(self, peer: ssl.SSLObject, *, verified: bool) -> Certificate | None:
        """Return the facts of the peer's leaf certificate, after the handshake."""
        der = peer.getpeercert(binary_form=True)
        return None if der is None else self._get(der, peer if verified else None)

    def of_failed(self, peer: ssl.SSLObject) -> Certificate | None:
        """Return the facts of the leaf after a failed verification; None before Python 3.13."""
        chain = getattr(peer, "get_unverified_chain", None)
        try:
            found = chain() if chain is not None else None
        except ValueError:
            return None
        return self._get(found[0], None) if found else None

    def _get(self, der: bytes, peer: ssl.SSLObject | None) -> Certificate | None:
        key = (der, peer is not None)
        found = self._seen.get(key)
        if found is None:
            found = _from_dict(peer) if peer is not None else _from_der(der)
            if found is None:
                return None
            self._seen[key] = found
            if len(self._seen) > self._size:
                self._seen.popitem(last=False)
        return found


def _from_dict(peer: ssl.SSLObject) -> Certificate | None:
    facts = peer.getpeercert()
    if not facts:
        return None
    names = [
        value for kind, value in _pairs(facts, "subjectAltName") if kind in {"DNS", "IP Address"}
    ]
    return Certificate(
        subject=_distinguished(facts.get("subject")),
        issuer=_distinguished(facts.get("issuer")),
        names=tuple(sanitize(name, 253) for name in names[:NAME_LIMIT]),
        not_before=float(ssl.cert_time_to_seconds(str(facts["notBefore"]))),
        not_after=float(ssl.cert_time_to_seconds(str(facts["notAfter"]))),
        serial=sanitize(str(facts.get("serialNumber", "")), 64).lower(),
        verified=True,
    )


def _pairs(facts: object, key: str) -> list[tuple[str, str]]:
    found = facts.get(key, ()) if isinstance(facts, dict) else ()
    return [(str(kind), str(value)) for kind, value in found]


def _distinguished(name: object) -> str:
    """Return the common name of a distinguished name, or else its last part."""
    parts = [pair for group in name for pair in group] if isinstance(name, tuple) else []
    common = [value for kind, value in parts if kind == "commonName"]
    return sanitize(str(common[-1] if common else parts[-1][1] if parts else ""), 200)


def _from_der(der: bytes) -> Certificate | None:
    """Return the facts of an unverified certificate; None if it cannot be parsed."""
    from cryptography import x509  # noqa: PLC0415  # 50 ms; only a bad certificate needs it
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    def named(name: x509.Name) -> str:
        found = name.get_attributes_for_oid(NameOID.COMMON_NAME) or list(name)
        return sanitize(found[-1].value, 200) if found else ""

    try:
        parsed = x509.load_der_x509_certificate(der)
        try:
            extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            names = [str(name.value) for name in extension.value][:NAME_LIMIT]
        except (x509.ExtensionNotFound, ValueError):
            names = []
        return Certificate(
            subject=named(parsed.subject),
            issuer=named(parsed.issuer),
            names=tuple(sanitize(name, 253) for name in names),
            not_before=parsed.not_valid_before_utc.timestamp(),
            not_after=parsed.not_valid_after_utc.timestamp(),
            serial=f"{parsed.serial_number:x}",
            verified=False,
        )
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType):
        return None
