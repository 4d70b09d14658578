from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from probed import Duration, HostPort, Pattern, Probe, Run, SecretStr, Size, Tls, Url
from probed.config import Config, loads
from probed.registry import Registry

Read = Callable[..., Config]


class Line(Probe):
    """Read one line."""

    kind = "line"
    address: HostPort
    """Whom to ask."""
    expect: Pattern | None = None
    """What the line must match."""
    tls: Tls | None = None
    """Ask over TLS."""
    slow: Duration = 2.0
    limit: Size = 4096

    async def probe(self, run: Run) -> None:
        """Ask nothing."""


def _codes(value: object) -> object:
    """`2xx` is a 2."""
    return tuple(int(text[0]) for text in value.split()) if isinstance(value, str) else value


Codes = Annotated[
    tuple[int, ...], BeforeValidator(_codes), WithJsonSchema({"type": ["string", "array"]})
]


class Mode(StrEnum):
    SOFT = "soft"
    HARD = "hard"


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    do: Literal["wait"]
    seconds: Annotated[float, Field(gt=0)]


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    do: Literal["login"]
    password: SecretStr
    codes: Codes = (2,)


class Site(Probe):
    """Ask a site."""

    kind = "site"
    url: Url
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    password: SecretStr | None = None
    keys: tuple[SecretStr, ...] = ()
    statuses: tuple[Annotated[int, Field(ge=100, le=599)], ...] = (200,)
    method: Literal["GET", "HEAD"] = "GET"
    mode: Mode = Mode.SOFT
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    steps: tuple[Annotated[Step | Login, Field(discriminator="do")], ...] = ()
    body: str | None = None
    match: int | str | None = None
    file: Path | None = None
    codes: Codes = (2,)
    from_: str | None = Field(None, alias="from")

    @model_validator(mode="after")
    def _check(self) -> "Site":
        if self.body is not None and self.method == "GET":
            raise ValueError(f"a GET has no body, and not {self.body!r} for {self.password}")
        return self

    async def probe(self, run: Run) -> None:
        """Ask nothing."""


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry({"line": Line, "site": Site})


@pytest.fixture
def read(registry: Registry) -> Read:
    """Load a text; keyword arguments are the environment."""

    def load(text: str, base: Path | None = None, /, **environ: str) -> Config:
        return loads(text, registry, environ=environ, base=base)

    return load


@pytest.fixture(scope="session")
def environ() -> Mapping[str, str]:
    """The environment of the files under data/."""
    return {
        "EMPTY": "",
        "HOST": "mail.example.com",
        "PORT": "2525",
        "TWO": "2",
        "TOKEN": "canary-token-1",
        "WORD": "canary-word-2",
    }
