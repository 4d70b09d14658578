"""The nodes that a connection string names, and how to log in to them.

After "Initial DNS Seedlist Discovery" of MongoDB's driver specifications: SRV and TXT records come from
whoever answers for the domain, and must not lead the login elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from probed import HostPort, ProbeError, Reason, Run, SecretStr, Tls
from probes.mongo.login import Login
from probes.mongo.uri import NODES, PORT, MongoUri

TXT_LIMIT = 1024
"""Characters of a TXT record that are read."""
_OF_TXT = {"authsource", "replicaset", "loadbalanced"}
"""Options that a TXT record may set."""


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """The nodes to ask, and the login and TLS settings for them."""

    nodes: tuple[HostPort, ...]
    login: Login
    tls: Tls | None

    def key(self, node: HostPort) -> tuple[object, ...]:
        """Return the key of the node's pooled connection."""
        tls = self.tls
        return ("mongo", str(node), self.login, tls and (tls.options, tls.server_name))


async def plan(
    run: Run, uri: MongoUri, tls: Tls | None, username: str = "", password: SecretStr | None = None
) -> Plan:
    """Return the nodes as written, or as the SRV records name them. `username` and `password` replace
    those of `uri`. Raises ProbeError `dns.*`.
    """
    nodes, source = uri.nodes, uri.options.get("authSource", "")
    if uri.srv:
        nodes = await _srv(run, uri.srv, uri.options.get("srvServiceName", "mongodb"))
        source = source or await _source(run, uri.srv)
    if uri.password and uri.password in run.clean(uri.password):
        run.redactor.learn([uri.password])  # what was read as a secret is the whole string
    login = Login(
        username or uri.username,
        uri.password if password is None else password.get_secret_value(),
        source or uri.database or "admin",
        uri.options.get("authMechanism", ""),
    )
    return Plan(nodes, login, tls)


def parent_of(name: str) -> str:
    """Return the domain that each host of an SRV record of `name` must be below: its parent or, with
    fewer than three labels, the whole name (DRIVERS-2922).
    """
    labels = name.rstrip(".").lower().split(".")
    return ".".join(labels if len(labels) < 3 else labels[1:])


async def _srv(run: Run, name: str, service: str) -> tuple[HostPort, ...]:
    with run.phase("resolve"):
        records = await run.network.resolver.query(f"_{service}._tcp.{name}", "SRV")
    domain = f".{parent_of(name)}"
    nodes = []
    for record in records:
        parts = record.split()
        host = parts[3].rstrip(".").lower() if len(parts) == 4 else ""
        if not host.endswith(domain):
            raise ProbeError(Reason.DNS_MISMATCH, "An SRV record leads out of the domain.")
        nodes.append(HostPort(host, int(parts[2]) or PORT))
    return tuple(sorted(dict.fromkeys(nodes), key=str)[:NODES])


async def _source(run: Run, name: str) -> str:
    """Return the authSource that the TXT record sets; empty where there is no record."""
    try:
        with run.phase("resolve"):
            records = await run.network.resolver.query(name, "TXT")
    except ProbeError as error:
        if error.reason in {Reason.DNS_NO_DATA, Reason.DNS_NXDOMAIN}:
            return ""
        raise
    text = "".join(records[0].split('"')[1::2]) if records else ""
    if len(records) > 1 or len(text) > TXT_LIMIT:
        raise ProbeError(Reason.DNS_MISMATCH, "The name must have one TXT record of options.")
    found = ""
    for option in filter(None, text.split("&")):
        key, _, value = option.partition("=")
        if key.lower() not in _OF_TXT:
            raise ProbeError(Reason.DNS_MISMATCH, "The TXT record sets an option that it may not.")
        if key.lower() == "authsource":
            found = unquote(value)
    return found
