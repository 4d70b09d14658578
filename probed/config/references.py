"""References to secrets: `{env: NAME}`, `{file: PATH}`, `{credential: NAME}`."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel

from probed.config.excerpt import names_secret
from probed.config.reading import read_bounded
from probed.fields import Private, Url

WRITE = "write {env: NAME}, {file: PATH} or {credential: NAME}"
SECRET_LIMIT = 64 * 1024
_NAME = r"[A-Za-z_][A-Za-z0-9_]*\Z"
_PLAIN_NAME = r"[A-Z_][A-Z0-9_]*\Z"
_SCHEME = r"(?is)(?:bearer|basic|token|digest|apikey)\s+(\S.*)"


LONG_VALUE = 16
"""Characters from which on any query value of a URL counts as a secret."""


class SecretError(Exception):
    """A secret that cannot be had; `remedy` says what to do.

    `exposed` is true where the name may be the secret itself, written in the wrong place.
    """

    def __init__(self, message: str, remedy: str = "", *, exposed: bool = False) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.exposed = exposed


def in_settings(value: object) -> Iterator[str]:
    """Yield values beside secrets that must not be shown, because a peer may repeat them: what is
    private, and query values of URLs that are taken to be secrets, by the name of the parameter or
    because nobody writes so long a word by hand.
    """
    if isinstance(value, Private):
        yield value.text
    elif isinstance(value, Url):
        for name, text in parse_qsl(urlsplit(value).query):
            if names_secret(name) or len(text) >= LONG_VALUE:
                yield text
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from in_settings(getattr(value, field))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from in_settings(item)


class Secrets:
    """Reads secrets, and collects them for the redactor. Each file is read once."""

    def __init__(self, environ: Mapping[str, str], warnings: dict[str, None]) -> None:
        self._environ = environ
        self._warnings = warnings
        self.known: set[str] = set()
        self.files: dict[Path, str | SecretError] = {}

    def add(self, secret: str) -> None:
        self.known.add(secret)
        bare = re.match(_SCHEME, secret)
        if bare is not None:
            self.known.add(bare[1])

    def find(self, source: str, name: str, folder: Path | None) -> str:
        """The secret of `env`, `file` or `credential`; a relative path counts from the folder.
        Raises SecretError.
        """
        if source == "env":
            secret = self._variable(name)
        elif source == "file":
            path = Path(name) if folder is None else folder / name
            secret = self._file(path, "the file of the secret")
        else:
            secret = self._credential(name)
        self.add(secret)
        return secret

    def _variable(self, name: str) -> str:
        if not re.match(_NAME, name):
            raise SecretError("is not the name of an environment variable", WRITE, exposed=True)
        value = self._environ.get(name)
        if value:
            return value
        plain = re.match(_PLAIN_NAME, name) is not None
        which = f"the environment variable {name}" if plain else "the environment variable"
        state = "is not set" if value is None else "is empty"
        raise SecretError(f"{which} {state}", "set it", exposed=not plain)

    def _credential(self, name: str) -> str:
        if "/" in name or name in {"", ".", ".."}:
            raise SecretError("is not the name of a credential", "write the name without a path")
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SecretError(
                "there are no credentials: CREDENTIALS_DIRECTORY is not set",
                "run under systemd with LoadCredential=, or write {env: NAME} or {file: PATH}",
            )
        return self._file(Path(folder) / name, "the credential")

    def _file(self, path: Path, what: str) -> str:
        found = self.files.get(path)
        if found is None:
            try:
                found = self._read(path, what)
            except SecretError as error:
                found = error
            self.files[path] = found
        if isinstance(found, SecretError):
            raise found
        return found

    def _read(self, path: Path, what: str) -> str:
        try:
            content, mode = read_bounded(path, SECRET_LIMIT)
            text = content.decode("utf-8")
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise SecretError(f"{what} cannot be read: {why}") from None
        except UnicodeDecodeError:
            raise SecretError(f"{what} is not UTF-8 text") from None
        except ValueError as error:
            raise SecretError(f"{what} {error}") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise SecretError(f"{what} is empty")
        if mode & stat.S_IROTH:
            self._warnings[f"{path} holds a secret and can be read by everybody; chmod o-r it"] = (
                None
            )
        return text
