"""The gateway probe: one GET, judged by status, latency, certificate, body and upstreams."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import anyio
from pydantic import Field, field_validator, model_validator

from probed import (
    AddressChoice,
    CertificateAge,
    Fault,
    Measure,
    MetricType,
    Outcome,
    Probe,
    Reason,
    Reasons,
    Request,
    Response,
    Run,
    SecretStr,
    Size,
    Tls,
    UnixSocket,
    Url,
    by_family,
    judge_certificate,
    judge_latency,
    record_fault,
)
from probes.gateway import assertions, judge, trend
from probes.gateway.expect import Expect
from probes.gateway.health import Body, HealthDocument, NotThisFormat, load, parse, read
from probes.gateway.reasons import GatewayReason
from probes.gateway.settings import (
    Headers,
    Health,
    Statuses,
    Trend,
    Upstream,
    expects,
    sendable,
    written,
)

SNIPPET = 200
"""Characters of an unexpected answer's body that are shown."""

_BY_STATUS: dict[int, tuple[Outcome, Reasons]] = {
    401: (Outcome.UNKNOWN, Reason.HTTP_UNAUTHORIZED),
    403: (Outcome.UNKNOWN, Reason.HTTP_UNAUTHORIZED),
    429: (Outcome.UNKNOWN, Reason.HTTP_RATE_LIMITED),
    502: (Outcome.FAILED, Reason.HTTP_BAD_GATEWAY),
    503: (Outcome.FAILED, Reason.HTTP_UNAVAILABLE),
    504: (Outcome.FAILED, Reason.HTTP_GATEWAY_TIMEOUT),
}
_TELLING = (
    "server", "via", "retry-after", "x-envoy-overloaded", "x-envoy-upstream-service-time",
    "x-kong-proxy-latency", "x-kong-upstream-latency", "content-type",
)  # fmt: skip
"""Headers that help to find out who answered, and why so."""


_BROKEN = "the body begins as JSON, and is not valid JSON: it may be cut off"


class GatewayProbe(Probe):
    """GET a gateway's health endpoint, and the upstreams behind it, so that the cause is named."""

    kind = "gateway"
    example = """\
checks:
  - name: gateway
    probe: gateway
    url: https://api.example.com/health
    headers: {Authorization: {env: HEALTH_TOKEN}}
    latency: {degraded: 500ms, failed: 3s}
    expect:
      json: [{path: $.queue.depth, below: 100, level: degraded, name: backlog}]
    upstreams:
      - {name: billing, url: "http://billing.example.com:8080/actuator/health"}
    severity: P0
"""
    reasons = GatewayReason

    url: Url
    """The URL to ask, such as `https://api.example.com/health`."""
    status: Statuses = ((200, 299),)
    """The statuses that are expected."""
    headers: Headers = Field(default_factory=dict)
    """Headers to send; their values are secrets and shown nowhere."""
    health: Health = Health.model_construct()
    """How the body is read as a health document."""
    expect: Expect = Expect.model_construct()
    """Assertions about headers and body."""
    latency: Trend = Trend.model_construct()
    """How long the answer may take to begin, from the end of the request."""
    certificate: CertificateAge = CertificateAge.model_construct()
    """How long the certificate must still be good for."""
    tls: Tls = Tls.model_construct()
    """How the certificate is verified."""
    family: AddressChoice = "any"
    """Over which addresses: `any` that connects, `ipv4`, `ipv6`, or `both`, which must both work."""
    uds: UnixSocket | None = None
    """Unix socket to connect to, in place of the host and port of `url`."""
    http2: bool = False
    """Ask over HTTP/2: a peer that does not agree to it fails; over `http://` it is not asked."""
    redirects: Annotated[int, Field(ge=0, le=10)] = 0
    """How many redirects to follow, where `status` does not expect them; `headers` and our
    certificate stay with the origin of `url`.
    """
    upstreams: Annotated[tuple[Upstream, ...], Field(max_length=20)] = ()
    """Backends to ask directly at the same time: is it them, or the way to them?"""
    body_limit: Annotated[Size, Field(ge=0, le=64 << 20)] = 1 << 20
    """Bytes of the body that are read, and that it may decode to."""

    measures = (
        Measure(
            "http.client.request.duration",
            unit="s",
            kind=MetricType.HISTOGRAM,
            help="Time of the whole request on a fresh connection.",
            attributes=("http.request.method", "http.response.status_code"),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
        ),
        Measure("probed.http.response.status_code", help="Status of the last answer."),
        Measure("probed.http.response.wait", unit="s", help="Time from the request to the headers."),
        Measure("probed.http.response.body.size", unit="By", help="Size of the last body."),
        *judge.MEASURES,
    )  # fmt: skip

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return sendable(headers)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.uds is not None and self.family != "any":
            raise ValueError("write either uds or a family: a unix socket is of none")
        return self

    @field_validator("upstreams")
    @classmethod
    def _told_apart(cls, upstreams: tuple[Upstream, ...]) -> tuple[Upstream, ...]:
        names = [upstream.name for upstream in upstreams]
        if len(set(names)) < len(names):
            raise ValueError("two upstreams have the same name")
        return upstreams

    @cached_property
    def _request(self) -> Request:
        uds = None if self.uds is None else str(self.uds)
        return Request(self.url, headers=self.headers, tls=self.tls, http2=self.http2, uds=uds)

    async def probe(self, run: Run) -> None:
        if not self.upstreams:
            await by_family(run, self.family, self._get)
            return
        faults: dict[str, Fault | None] = {}
        statuses: list[int] = []
        async with anyio.create_task_group() as tasks:
            for upstream in self.upstreams:
                tasks.start_soon(_get_upstream, run, upstream, self.body_limit, faults)
            await by_family(run, self.family, partial(self._get_guarded, statuses))
        failed = any(not expects(self.status, status) for status in statuses)
        faults = {upstream.name: faults[upstream.name] for upstream in self.upstreams}
        judge.upstreams(run, faults, status=max(statuses), gateway_failed=failed)

    async def _get(self, run: Run) -> None:
        self._judge(run, await self._fetch(run))

    async def _fetch(self, run: Run) -> Response:
        return await run.fetch(
            self._request,
            body_limit=self.body_limit,
            redirects=self.redirects,
            final=lambda status: expects(self.status, status),
        )

    async def _get_guarded(self, statuses: list[int], run: Run) -> None:
        """Ask the gateway, beside its upstreams; a status of 0 means that there was no answer."""
        answer = await run.guard(lambda: self._fetch(run))
        if isinstance(answer, Fault):
            statuses.append(0)
            record_fault(run, answer)
        else:
            statuses.append(answer.status)
            self._judge(run, answer)

    def _judge(self, run: Run, answer: Response) -> None:
        run.measure(
            "http.client.request.duration",
            run.clock.monotonic() - run.started,
            {"http.request.method": "GET", "http.response.status_code": str(answer.status)},
        )
        run.measure("probed.http.response.status_code", answer.status)
        run.measure("probed.http.response.wait", answer.wait_s)
        run.measure("probed.http.response.body.size", answer.size)
        expected = expects(self.status, answer.status)
        body = self._load(run, answer)
        document = None if body is None else self._read(run, answer, body, expected=expected)
        if not expected:
            self._unexpected(run, answer, document)
        if document is not None:
            judge.health(run, document, self.health.require, expected=expected)
        if body is not None:
            judge.pools(run, document, body, self.health, expected=expected)
        if expected:
            assertions.judge(run, self.expect, answer, body)
        judge_latency(run, answer.wait_s, self.latency)
        if expected and all(found.level is not Outcome.FAILED for found in run.findings):
            trend.judge(run, answer.wait_s, self.latency.trend)
        judge_certificate(run, self.certificate)

    def _load(self, run: Run, answer: Response) -> Body | None:
        """The body's value; None, and a finding, where it cannot be read whole."""
        if answer.undecoded:
            run.degraded(Reason.HTTP_ENCODING, evidence={"content-encoding": answer.undecoded})
            return None
        if answer.truncated:
            run.degraded(
                Reason.HTTP_BODY_TOO_LARGE, f"The body is larger than {self.body_limit} bytes."
            )
            return None
        return load(answer.body)

    def _read(
        self, run: Run, answer: Response, body: Body, *, expected: bool
    ) -> HealthDocument | None:
        """The body as a health document; a finding where it is not of the shape that is set, or of one
        that it begins with.
        """
        kind = answer.header("content-type") or ""
        try:
            if body.is_broken and self.health.map is None and self.health.format == "auto":
                raise NotThisFormat(_BROKEN)  # noqa: TRY301  # one finding for both
            return read(kind, body, format=self.health.format, map=self.health.map)
        except NotThisFormat as why:
            if expected:
                text = str(why)
                run.find(
                    Outcome.FAILED,
                    Reason.HTTP_NOT_JSON,
                    f"{text[0].upper()}{text[1:]}.",
                    evidence={"content-type": kind, "body": answer.body[:SNIPPET]},
                )
            return None

    def _unexpected(self, run: Run, answer: Response, document: HealthDocument | None) -> None:
        status = answer.status
        level, reason = _BY_STATUS.get(status, (Outcome.FAILED, Reason.HTTP_STATUS))
        evidence: dict[str, Any] = {"status": status} | {
            name: value for name in _TELLING if (value := answer.header(name)) is not None
        }
        message = f"The answer is {status}; {', '.join(map(written, self.status))} was expected."
        if 300 <= status < 400:
            level, reason = Outcome.FAILED, Reason.HTTP_REDIRECTED
            evidence["location"] = _origin(answer.header("location") or "")
        else:
            evidence["body"] = answer.body[:SNIPPET]
        if document is not None and document.status is Outcome.OK and status >= 500:
            evidence["contradiction"] = "the body says that all is well"
        if reason in {
            Reason.HTTP_BAD_GATEWAY,
            Reason.HTTP_UNAVAILABLE,
            Reason.HTTP_GATEWAY_TIMEOUT,
        }:
            message = reason.sentence
        run.find(level, reason, message, evidence=evidence)
        if status == 503 and answer.header("x-envoy-overloaded") is not None:
            run.find(Outcome.FAILED, GatewayReason.CIRCUIT_OPEN, "Envoy sheds load: overloaded.")


async def _get_upstream(
    run: Run, upstream: Upstream, body_limit: int, faults: dict[str, Fault | None]
) -> None:
    """Ask an upstream directly, and note what is wrong with it; None where nothing is."""
    part = run.part(f"upstream/{upstream.name}")
    part.family = "any"
    answer = await part.guard(lambda: part.fetch(upstream.request, body_limit=body_limit))
    fault: Fault | None = None
    if isinstance(answer, Fault):
        phase = part.failed_phase
        where = f" ({phase.name.rpartition('/')[2]})" if phase else ""
        fault = answer._replace(message=answer.message + where)
    elif not expects(upstream.status, answer.status):
        level, reason = _BY_STATUS.get(answer.status, (Outcome.FAILED, Reason.HTTP_STATUS))
        fault = Fault(reason, level, f"It answered {answer.status}.")
    else:
        document = parse(answer.header("content-type") or "", answer.body)
        if document.status is Outcome.FAILED:
            fault = Fault(GatewayReason.DOWN, Outcome.FAILED, GatewayReason.DOWN.sentence)
    faults[upstream.name] = fault


def _origin(location: str) -> str:
    """Where a redirect leads, without path and query: those may hold tokens."""
    try:
        parts = urlsplit(location)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "not a URL"
    return f"{parts.scheme}://{host}{port}" if host else "the same origin"
