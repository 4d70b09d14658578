"""Our own certificate and its key, for peers that ask who we are."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from probed.text.redact import SecretStr

FILE_LIMIT = 1 << 20
PASSWORD_LIMIT = 1024
"""Bytes of a password that OpenSSL takes."""

_FOREIGN = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}
_WEAK = {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}


class IdentityError(ValueError):
    """A certificate that cannot be shown. `setting` is what is wrong with it: `certificate`, `key`
    or `password`; empty where one of them is not there.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting = setting


def stamp_of(*paths: str | SecretStr | None) -> tuple[tuple[int, ...], ...]:
    """What changes when one of the files does. Raises OSError."""
    found = [os.stat(path) for path in paths if isinstance(path, str)]
    return tuple((entry.st_mtime_ns, entry.st_size, entry.st_ino) for entry in found)


def check_identity(
    certificate: str, key: str | SecretStr | None, password: SecretStr | None
) -> None:
    """Raises IdentityError where these are no certificate with its key. Told once per content."""
    try:
        stamp = stamp_of(certificate, key)
    except OSError:
        stamp = ()  # loading will say which
    problem = _problem(certificate, key, password, stamp)
    if problem is not None:
        raise IdentityError(*problem)


@lru_cache(maxsize=256)
def _problem(
    certificate: str,
    key: str | SecretStr | None,
    password: SecretStr | None,
    stamp: object,  # noqa: ARG001  # another content is another question
) -> tuple[str, str] | None:
    try:
        load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key, password)
    except IdentityError as error:
        return error.setting, str(error)
    return None


def load_identity(
    context: ssl.SSLContext,
    certificate: str,
    key: str | SecretStr | None,
    password: SecretStr | None,
) -> None:
    """Show this certificate from now on. `certificate` is a PEM file, which may hold the key too;
    `key` is another, or the key itself. Raises IdentityError.
    """
    chain = _read(certificate, "certificate")
    if b"-----BEGIN CERTIFICATE-----" not in chain:
        raise IdentityError("certificate", "the file holds no PEM certificate")
    if isinstance(key, SecretStr):
        private = key.get_secret_value().encode()
    else:
        private = chain if key is None else _read(key, "key")
    if b"PRIVATE KEY-----" not in private:
        if key is None:
            raise IdentityError("", "write the `key` of the certificate: its file holds none")
        raise IdentityError("key", "it is no PEM private key")
    sealed = b"ENCRYPTED" in private
    if sealed and password is None:
        # OpenSSL would ask for it on the terminal.
        raise IdentityError("", "the key is encrypted: write its `password`")
    opener = b"" if password is None else password.get_secret_value().encode()
    if len(opener) > PASSWORD_LIMIT:
        raise IdentityError("password", f"it is longer than {PASSWORD_LIMIT} bytes")
    with _in_memory(chain) as chain_file, _in_memory(private) as key_file:
        try:
            context.load_cert_chain(chain_file, key_file, lambda: opener)
        except ssl.SSLError as error:
            raise _explained(error, chain, sealed=sealed) from None


def _explained(error: ssl.SSLError, chain: bytes, *, sealed: bool) -> IdentityError:
    if error.reason in _FOREIGN:
        return IdentityError("key", "it is not the key of the certificate")
    if error.reason in _WEAK:
        return IdentityError("certificate", "its key or its signature is too weak")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cadata=chain.decode("ascii", errors="replace")
        )
    except (ssl.SSLError, ValueError):
        return IdentityError("certificate", "the file holds no PEM certificate")
    if sealed:
        return IdentityError("password", "it does not open the key")
    return IdentityError("key", "it is no PEM private key")


def _read(path: str, setting: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # it is open already
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise IdentityError(setting, "it is no regular file")
            content = file.read(FILE_LIMIT + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise IdentityError(setting, f"the file cannot be read: {why}") from None
    if len(content) > FILE_LIMIT:
        raise IdentityError(setting, f"the file is larger than {FILE_LIMIT >> 20} MiB")
    return content


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path that OpenSSL can read the content at: a key that is a secret is in no file."""
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.pwrite(descriptor, content, 0)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
