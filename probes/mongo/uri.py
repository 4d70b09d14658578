"""Connection strings, read without the driver: they are settings, and a mistake has its place there.

After https://www.mongodb.com/docs/manual/reference/connection-string/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NoReturn
from urllib.parse import unquote

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from probed import HostPort, Tls

PORT = 27017
NODES = 10
"""Nodes of one check."""

MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "MONGODB-X509")
HONOURED = ("authMechanism", "authSource", "loadBalanced", "ssl", "srvServiceName", "tls",
            "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames", "tlsCAFile",
            "tlsCertificateKeyFile",
            "tlsCertificateKeyFilePassword", "tlsInsecure")  # fmt: skip
WITHOUT_EFFECT = (
    "appName", "authMechanismProperties", "compressors", "connectTimeoutMS", "directConnection",
    "heartbeatFrequencyMS", "journal", "localThresholdMS", "maxConnecting", "maxIdleTimeMS",
    "maxPoolSize", "maxStalenessSeconds", "minPoolSize", "readConcernLevel", "readPreference",
    "readPreferenceTags", "replicaSet", "retryReads", "retryWrites", "serverMonitoringMode",
    "serverSelectionTimeoutMS", "socketTimeoutMS", "srvMaxHosts", "timeoutMS",
    "tlsDisableOCSPEndpointCheck", "uuidRepresentation", "w", "waitQueueTimeoutMS", "wTimeoutMS",
    "zlibCompressionLevel",
)  # fmt: skip
"""Options that applications write, and that probed chooses itself."""
_KNOWN = {name.lower(): name for name in (*HONOURED, *WITHOUT_EFFECT)}
_SHAPE = re.compile(r"mongodb(\+srv)?://(?:([^/?#]*)@)?([^/?#@]+)(?:/([^?#]*))?(?:\?([^#]*))?\Z")


@dataclass(frozen=True, slots=True, repr=False)
class MongoUri:
    """The contents of a connection string. `srv` is the name whose SRV records name the nodes; `options`
    are those that are honoured, by their usual spelling.
    """

    nodes: tuple[HostPort, ...] = ()
    srv: str = ""
    username: str = ""
    password: str = ""
    database: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def flag(self, *names: str) -> bool:
        """Return whether one of these options is on."""
        return any(self.options.get(name) == "true" for name in names)

    @property
    def tls(self) -> Tls | None:
        """Return how TLS is spoken; None where it is not. Raises ValidationError for unusable files."""
        of_tls = {name for name in self.options if name.startswith("tls")}
        off = "false" in {self.options.get("tls"), self.options.get("ssl")}
        if off or not (self.srv or self.flag("tls", "ssl") or of_tls - {"tls"}):
            return None
        return Tls.model_validate({
            "verify": not self.flag("tlsInsecure", "tlsAllowInvalidCertificates"),
            "ca": self.options.get("tlsCAFile"),
            "certificate": self.options.get("tlsCertificateKeyFile"),
            "password": self.options.get("tlsCertificateKeyFilePassword"),
        })  # fmt: skip


def parse(text: str) -> MongoUri:
    """Read it. Raises PydanticCustomError, which repeats nothing of it: it may hold a password."""
    match = _SHAPE.match(text)
    if match is None:
        _refuse("not a connection string; write mongodb://host:27017/ or mongodb+srv://name/, with "
                "percent-encoding for : / ? # [ ] @ in user and password")  # fmt: skip
    srv, user, hosts, database, query = match.groups()
    username, _, password = (user or "").partition(":")
    return MongoUri(
        nodes=() if srv else _nodes(hosts),
        srv=_node(hosts, srv=True).host if srv else "",
        username=unquote(username),
        password=unquote(password),
        database=unquote(database or ""),
        options=_options(query or ""),
    )


def node_of(host: str, port: int) -> HostPort:
    """A host, IPv6 with or without brackets, and a port. Raises PydanticCustomError."""
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    node: HostPort = HostPort.parse(f"{bracketed}:{port}")
    return node


def _nodes(hosts: str) -> tuple[HostPort, ...]:
    nodes = tuple(dict.fromkeys(_node(host) for host in hosts.split(",")))
    if len(nodes) > NODES:
        _refuse(f"one check asks at most {NODES} nodes")
    return nodes


def _node(host: str, *, srv: bool = False) -> HostPort:
    if host.endswith(".sock"):
        _refuse("unix sockets cannot be asked")
    bare = host.rpartition("]")[2] if host.startswith("[") else host
    if srv and (":" in bare or "," in bare):
        _refuse("mongodb+srv:// takes one name and no port")
    try:
        node: HostPort = HostPort.parse(host if ":" in bare else f"{host}:{PORT}")
    except (PydanticCustomError, ValidationError):
        _refuse("a host in it is not host:port")
    return node


def _options(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        known = _KNOWN.get(name.lower())
        if known is None:
            close = get_close_matches(name.lower(), _KNOWN, 1, 0.8)
            hint = f"; did you mean {_KNOWN[close[0]]}?" if close else ""
            _refuse(f"an option in it is unknown{hint}")
        if known in HONOURED:
            found[known] = _value(known, unquote(value))
    return found


def shows_password(uri: MongoUri, tls: Tls | None) -> bool:
    """Whether the login would send the password itself over a connection without TLS."""
    return uri.options.get("authMechanism") == "PLAIN" and tls is None


def _value(name: str, value: str) -> str:
    if name == "authMechanism" and value not in MECHANISMS:
        _refuse(f"authMechanism must be one of {', '.join(MECHANISMS)}")
    if name in {"loadBalanced", "ssl", "tls", "tlsInsecure"} or name.startswith("tlsAllow"):
        if value not in {"true", "false"}:
            _refuse(f"{name} must be true or false")
        if value == "true" and name == "loadBalanced":
            _refuse("loadBalanced cannot be asked: name the nodes behind the balancer")
        if value == "true" and name == "tlsAllowInvalidHostnames":
            _refuse("tlsAllowInvalidHostnames is not offered: write tls: {server_name: ...}")
    return value


def _refuse(message: str) -> NoReturn:
    raise PydanticCustomError("mongo_uri", "{why}", {"why": message})
