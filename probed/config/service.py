"""The section `service`: the daemon itself."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from probed.config.listening import Listen
from probed.config.section import RELOADABLE, Section
from probed.fields import Settings, is_loopback


def _loopback(value: str, info: ValidationInfo) -> str:
    """Return the address, if it is loopback or protected by a password."""
    access = info.data.get("access")
    if not is_loopback(value) and access is not None and not (access.read or access.anybody):
        raise PydanticCustomError(
            "loopback",
            "write a loopback address, such as 127.0.0.1:9611, or a password for who may read: "
            "access: {read: {file: PATH}}",
        )
    return value


def _resolver(value: str) -> str:
    """Return the address of a name server, with its port."""
    host, port = value, "53"
    if value.startswith("[") or value.count(":") == 1:
        host, _, port = value.rpartition(":") if not value.endswith("]") else (value, "", "53")
    try:
        address = str(ip_address(host.removeprefix("[").removesuffix("]")))
        number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else 0
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise PydanticCustomError(
            "resolver",
            "write the IP address of a name server, such as 192.0.2.53 or 192.0.2.53:5353",
        )
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


Resolver = Annotated[str, AfterValidator(_resolver)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Limit = Annotated[int, Field(ge=1, le=10_000)]


class Access(Settings):
    """Passwords for the page and the API: HTTP authentication, with any user name."""

    read: SecretStr | None = None
    """Password for reading. Without it everybody who reaches the address may read."""
    admin: SecretStr | None = None
    """Password for reading and for running checks. Without it nobody may run checks from the page."""
    anybody: bool = False
    """Allow an address that is not loopback without a password."""


class Service(Section):
    """The daemon itself."""

    key = "service"
    example = """\
service:
  name: probed-eu
  environment: production
  location: eu-west-1
  state_dir: /var/lib/probed
  listen: 0.0.0.0:9611
  allowed_hosts: [status.example.com]
  access: {read: {file: /etc/probed/read}, admin: {file: /etc/probed/admin}}
  resolvers: [192.0.2.53, "192.0.2.54:5353"]
  watch: true
"""

    name: Text = "probed"
    """`service.name` of the telemetry."""
    environment: Text | None = None
    """`deployment.environment.name` of the telemetry."""
    location: Text | None = None
    """Where the checks run from: `probed.location` of the telemetry."""
    state_dir: Path | None = None
    """Folder for the state that survives a restart. By default `$STATE_DIRECTORY`."""
    access: Access = Access.model_construct()
    """Passwords for the page and the API."""
    listen: Annotated[Listen, AfterValidator(_loopback)] = "127.0.0.1:9611"
    """Address of the page and the JSON API. Other than loopback it needs `access`."""
    allowed_hosts: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    """Host names under which the page may be requested, beside localhost."""
    concurrency: Annotated[Limit | None, RELOADABLE] = None
    """Maximum number of concurrent runs. By default 100, or as many as go on while all peers hang."""
    concurrency_per_host: Annotated[Limit | None, RELOADABLE] = None
    """Maximum number of concurrent runs against one host. By default 10, or as many as its checks need
    while it hangs.
    """
    resolvers: Annotated[tuple[Resolver, ...], Field(max_length=10), RELOADABLE] = ()
    """Name servers to query instead of the system's."""
    watch: Annotated[bool, RELOADABLE] = False
    """Reload when a file of the configuration has changed."""
    control: Path | None = None
    """Unix socket for `probed reload`, `status`, `drain` and `check --daemon`."""
