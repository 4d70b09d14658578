"""The MongoDB probe: what the playbook does by hand with mongosh, and nothing that writes."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from probed import CertificateAge, Duration, Probe, Run, Tls
from probes.mongo import measures
from probes.mongo.reasons import MongoReason
from probes.mongo.settings import (
    Active,
    Connections,
    Database,
    Lag,
    LockWaiters,
    Longest,
    LongRunning,
    SlowOperations,
)
from probes.mongo.uri import PORT, MongoUri, node_of, parse

ROLE = """\
The user to create, with no more rights than are used. It reads no data and writes nothing:

  use admin
  db.createRole({ role: "probedMonitor", roles: [], privileges: [
    { resource: { cluster: true }, actions: ["serverStatus", "inprog", "replSetGetStatus"] },
    { resource: { db: "", collection: "system.profile" }, actions: ["find"] }
  ]})
  db.createUser({ user: "probed", pwd: passwordPrompt(), mechanisms: ["SCRAM-SHA-256"],
    roles: [{ role: "probedMonitor", db: "admin" }] })

The built-in role clusterMonitor works too, but may also read the oplog, which holds all data written.
To have slow operations recorded, in each database: db.setProfilingLevel(1, { slowms: 1000 })
"""


class MongoProbe(Probe):
    """Ask the nodes of a MongoDB deployment for connections, slow and long-running operations and the
    state of their replica set. It reads only: it never kills, writes, or changes the profiler.
    """

    kind = "mongo"
    reasons = MongoReason
    notes = ROLE
    measures = measures.ALL

    uri: SecretStr | None = None
    """Connection string, `mongodb://` or `mongodb+srv://`; each of its nodes is asked by itself."""
    hostname: Annotated[str | None, Field(alias="host")] = None
    """The node to ask, in place of `uri`."""
    port: Annotated[int, Field(ge=1, le=65535)] = PORT
    """Its port."""
    username: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    """User to log in as; else that of `uri`, or none."""
    password: SecretStr | None = None
    """Its password."""
    tls: Tls | None = None
    """Speak TLS, and judge the certificate so; `tls: {}` for the usual rules."""
    certificate: CertificateAge = CertificateAge()
    """How long the server's certificate must still be good for."""
    databases: Annotated[tuple[Database, ...], Field(max_length=10)] = ()
    """Databases whose `system.profile` is looked at for slow operations."""
    slow_above: Annotated[Duration, Field(gt=0)] = 1.0
    """An operation that took longer than this is slow."""
    slow_operations: SlowOperations = SlowOperations()
    """How many slow operations a database may have in a minute, or since the last run where that is
    longer ago."""
    long_running_after: Annotated[Duration, Field(ge=1)] = 60.0
    """An operation that has run for so long is long-running."""
    long_running: LongRunning = LongRunning()
    """How many long-running operations there may be."""
    longest: Longest = Longest()
    """How long one operation may run."""
    active_operations: Active = Active()
    """How many operations of users may run at once."""
    lock_waiters: LockWaiters = LockWaiters()
    """How many operations may wait for a lock."""
    connections: Connections = Connections()
    """How much of the server's connections may be in use, as a part of 1."""
    lag: Lag = Lag()
    """How far a secondary may be behind the primary."""
    delayed: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    """Members, as `host:port` of the set's configuration, that are behind on purpose."""

    @field_validator("uri")
    @classmethod
    def _readable(cls, uri: SecretStr | None) -> SecretStr | None:
        if uri is not None:
            parse(uri.get_secret_value())
        return uri

    @field_validator("hostname")
    @classmethod
    def _a_host(cls, host: str | None) -> str | None:
        if host is not None:
            node_of(host, PORT)
        return host

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.uri is None) == (self.hostname is None):
            raise ValueError("write either uri or host")
        uri = self.connection
        if self.username is not None and uri.username:
            raise ValueError("the user stands in uri already: write it once")
        named = bool(self.username or uri.username)
        if self.password is not None and (not named or uri.password):
            raise ValueError("a password goes with a username, and is written once")
        by_certificate = uri.options.get("authMechanism") == "MONGODB-X509"
        if named and not by_certificate and self.password is None and not uri.password:
            raise ValueError("the user's password is missing")
        _ = self.encryption
        # The driver takes 0.2 s to load: now, and not in the middle of a run.
        from probes.mongo import rounds  # noqa: F401, PLC0415

        return self

    @cached_property
    def connection(self) -> MongoUri:
        """What `uri`, or `host` and `port`, say."""
        if self.uri is not None:
            return parse(self.uri.get_secret_value())
        return MongoUri(nodes=(node_of(self.hostname or "", self.port),))

    @cached_property
    def encryption(self) -> Tls | None:
        """How TLS is spoken: as `tls` says, or else as the options of `uri` do."""
        uri = self.connection
        of_uri = {name: value for name, value in uri.options.items() if name.startswith("tls")}
        if self.tls is not None:
            if set(of_uri) - {"tls"} or uri.options.get("tls") == "false":
                raise ValueError("TLS is set in uri and in tls: write it in one place")
            return self.tls
        off = "false" in {uri.options.get("tls"), uri.options.get("ssl")}
        if off or not (uri.srv or uri.flag("tls", "ssl") or set(of_uri) - {"tls"}):
            return None
        return Tls.model_validate({
            "verify": not uri.flag("tlsInsecure", "tlsAllowInvalidCertificates"),
            "ca": uri.options.get("tlsCAFile"),
            "certificate": uri.options.get("tlsCertificateKeyFile"),
            "password": uri.options.get("tlsCertificateKeyFilePassword"),
        })  # fmt: skip

    @property
    def target(self) -> str:
        uri = self.connection
        return f"mongodb+srv://{uri.srv}" if uri.srv else ",".join(map(str, uri.nodes))

    @property
    def host(self) -> str:
        uri = self.connection
        return uri.srv or uri.nodes[0].host

    async def probe(self, run: Run) -> None:
        from probes.mongo.rounds import run_round  # noqa: PLC0415

        await run_round(self, run)

    async def shapes(self, run: Run) -> dict[str, Any]:
        from probes.mongo.rounds import shapes  # noqa: PLC0415

        return await shapes(self, run)
