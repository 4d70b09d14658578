"""The client certificate and its key, for peers that require one."""

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
"""Longest password that OpenSSL accepts, in bytes."""

_FOREIGN = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}
_WEAK = {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}


class IdentityError(ValueError):
    """A client certificate that cannot be used. `setting` is the one that is wrong: `certificate`,
    `key` or `password`; empty where one of them is missing.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting = setting


def stamp_of(*paths: str | SecretStr | None) -> tuple[tuple[int, ...], ...]:
    """Return a value that changes when one of the files does. Raises OSError."""
    found = [os.stat(path) for path in paths if isinstance(path, str)]
    return tuple((entry.st_mtime_ns, entry.st_size, entry.st_ino) for entry in found)


def check_identity(
    certificate: str, key: str | SecretStr | None, password: SecretStr | None
) -> None:
    """Raise IdentityError if these are not a certificate with its key. The result is cached until the
    files change.
    """
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
    stamp: object,  # noqa: ARG001  # part of the cache key
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
    """Load the client certificate into the context. `certificate` is a PEM file, which may also hold
    the key; `key` is another file, or the key itself. Raises IdentityError.
    """
    chain = _read(certificate, "certificate")
    if b"-----BEGIN CERTIFICATE-----" not in chain:
        raise IdentityError("certificate", "the file contains no PEM certificate")
    if isinstance(key, SecretStr):
        private = key.get_secret_value().encode()
    else:
        private = chain if key is None else _read(key, "key")
    if b"PRIVATE KEY-----" not in private:
        if key is None:
            raise IdentityError("", "write the `key` of the certificate: its file contains none")
        raise IdentityError("key", "not a PEM private key")
    encrypted = b"ENCRYPTED" in private
    if encrypted and password is None:
        # OpenSSL would prompt for it on the terminal.
        raise IdentityError("", "the key is encrypted: write its `password`")
    passphrase = b"" if password is None else password.get_secret_value().encode()
    if len(passphrase) > PASSWORD_LIMIT:
        raise IdentityError("password", f"longer than {PASSWORD_LIMIT} bytes")
    with _in_memory(chain) as chain_file, _in_memory(private) as key_file:
        try:
            context.load_cert_chain(chain_file, key_file, lambda: passphrase)
        except ssl.SSLError as error:
            raise _explained(error, chain, encrypted=encrypted) from None


def _explained(error: ssl.SSLError, chain: bytes, *, encrypted: bool) -> IdentityError:
    if error.reason in _FOREIGN:
        return IdentityError("key", "not the key of this certificate")
    if error.reason in _WEAK:
        return IdentityError("certificate", "its key or its signature is too weak")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cadata=chain.decode("ascii", errors="replace")
        )
    except (ssl.SSLError, ValueError):
        return IdentityError("certificate", "the file contains no PEM certificate")
    if encrypted:
        return IdentityError("password", "wrong password for the key")
    return IdentityError("key", "not a PEM private key")


def _read(path: str, setting: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # it is open already
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise IdentityError(setting, "not a regular file")
            content = file.read(FILE_LIMIT + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise IdentityError(setting, f"cannot read the file: {why}") from None
    if len(content) > FILE_LIMIT:
        raise IdentityError(setting, f"the file is larger than {FILE_LIMIT >> 20} MiB")
    return content


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield a path where OpenSSL can read the content, so that a secret key is never in a file."""
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.pwrite(descriptor, content, 0)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
