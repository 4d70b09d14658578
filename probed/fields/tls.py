"""The settings of TLS."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from probed.fields.groups import Settings
from probed.net import IdentityError, TlsOptions, check_identity

PathOrSecret = Annotated[Path | SecretStr, Field(union_mode="left_to_right")]
"""A file, or where the secret is that it would hold."""


class Tls(Settings):
    """Verification of the peer's certificate, and a client certificate."""

    verify: bool = True
    """Refuse a certificate that is not trusted or is for another name."""
    ca: Path | None = None
    """PEM file of the certificate authorities to trust instead of the system's."""
    server_name: str | None = None
    """Name for SNI and verification, if it differs from the host."""

    certificate: Path | None = None
    """PEM file of the client certificate, followed by its chain."""
    key: PathOrSecret | None = None
    """PEM file of the key of `certificate`, or the key as a secret, if it is not in the same file."""
    password: SecretStr | None = None
    """The password of the key."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.certificate is None:
            if self.key is not None or self.password is not None:
                raise ValueError("write the `certificate` that the key is of")
            return self
        try:
            check_identity(str(self.certificate), self._key, self.password)
        except IdentityError as error:
            if not error.setting:
                raise
            kind = PydanticCustomError("identity", "{why}", {"why": str(error)})
            detail = InitErrorDetails(type=kind, loc=(error.setting,), input="")
            raise ValidationError.from_exception_data("Tls", [detail]) from None
        return self

    @property
    def _key(self) -> str | SecretStr | None:
        return str(self.key) if isinstance(self.key, Path) else self.key

    @cached_property
    def options(self) -> TlsOptions:
        return TlsOptions(
            verify=self.verify,
            ca=None if self.ca is None else str(self.ca),
            certificate=None if self.certificate is None else str(self.certificate),
            key=self._key,
            password=self.password,
        )
