"""The settings of the MongoDB kind."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from probed import CertificateAge, Duration, Probe, Thresholds, Tls
from probes.mongo.uri import PORT, MongoUri, node_of, parse, shows_password

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of 1."""
Database = Annotated[str, Field(pattern=r'^[^/\\. "$*<>:|?\x00]{1,63}$')]
"""A name as the manual allows it (Naming Restrictions)."""


class Connections(Thresholds):
    """How much of the connections that the server can take may be in use, as a part of 1."""

    degraded: Share | None = 0.8
    failed: Share | None = 0.95


class Active(Thresholds):
    """How many operations of users may run at once."""

    degraded: Amount | None = 100.0
    failed: Amount | None = None


class LongRunning(Thresholds):
    """How many operations of users may run for `long_running_after` and longer."""

    degraded: Amount | None = 0.0
    failed: Amount | None = 4.0


class Longest(Thresholds):
    """How long one operation of a user may run."""

    degraded: Duration | None = None
    failed: Duration | None = 300.0


class LockWaiters(Thresholds):
    """How many operations may wait for a lock."""

    degraded: Amount | None = 10.0
    failed: Amount | None = None


class SlowOperations(Thresholds):
    """How many slow operations a database may have in a minute, or since the last run where that
    is longer ago.
    """

    degraded: Amount | None = 5.0
    failed: Amount | None = None


class Lag(Thresholds):
    """How far a secondary may be behind the primary."""

    degraded: Duration | None = 10.0
    failed: Duration | None = 60.0


class MongoSettings(Probe):
    """The settings of one MongoDB check, and the connection that they describe."""

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
        if shows_password(uri, self.encryption):
            raise ValueError("authMechanism=PLAIN without TLS would show the password: set tls")
        return self

    @cached_property
    def connection(self) -> MongoUri:
        """Return the connection that `uri`, or `host` and `port`, describe."""
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
        return uri.tls

    @property
    def target(self) -> str:
        uri = self.connection
        return f"mongodb+srv://{uri.srv}" if uri.srv else ",".join(map(str, uri.nodes))

    @property
    def host(self) -> str:
        uri = self.connection
        return uri.srv or uri.nodes[0].host
