"""Redirects, hop by hop (RFC 9110 section 15.4): each is dialed anew, and trusted with nothing."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urldefrag, urljoin, urlsplit

from pydantic_core import PydanticCustomError

from probed.fields import Tls, Url
from probed.http.message import Request, Response
from probed.http.roundtrip import fetch
from probed.net import AddressFamily, Network
from probed.reasons import ProbeError, Reason
from probed.record import Certificate, Recorder

REDIRECT_LIMIT = 10
LOCATION_LIMIT = 8192
"""Bytes of a `Location` that is followed."""
FOLLOWED = frozenset({301, 302, 303, 307, 308})
_REPEATED = frozenset({307, 308})
_KEPT = "!#$%&'()*+,-./:;=?@[]_~"
"""What stands in a URL as it is; bytes past ASCII are percent-encoded, as browsers do."""


async def follow(
    recorder: Recorder,
    network: Network,
    request: Request,
    *,
    redirects: int,
    final: Callable[[int], bool] | None = None,
    extra: bytes = b"",
    body_limit: int,
    family: AddressFamily = "any",
) -> Response:
    """Fetch, and go where redirects lead, at most `redirects` times; the phases of each hop begin
    with `redirect/1/`. A status that is `final` is the answer.

    To another origin go neither configured headers nor our certificate, and a hop never leads from
    https to http, or to an address that is denied. The body of a redirect is not read. Facts are
    those of the last hop; of the certificates seen the one that ends first is kept. Raises what
    `fetch` does, and ProbeError with `http.redirect_*` or `http.too_many_redirects`.
    """

    def leads_on(status: int) -> bool:
        return status in FOLLOWED and not (final and final(status))

    prefix, seen, soonest = recorder.prefix, {str(request.url)}, None
    try:
        for hop in range(redirects + 1):
            if hop:
                recorder.prefix = f"{prefix}redirect/{hop}/"
                recorder.facts.clear()
                recorder.fact("http.request.resend_count", hop)
            recorder.certificate = None
            answer = await _hop(
                recorder, network, request, hop,
                extra=extra, body_limit=body_limit, family=family, unread=leads_on,
            )  # fmt: skip
            recorder.certificate = soonest = _sooner(soonest, recorder.certificate)
            location = answer.header("location")
            if location is None or not leads_on(answer.status):
                return answer
            if hop < redirects:
                request = _next(request, answer.status, location, seen)
                request.shown = _origin(request.url)  # a peer's paths may hold tokens
    finally:
        recorder.prefix = prefix
    raise ProbeError(
        Reason.HTTP_TOO_MANY_REDIRECTS, f"The redirects lead on past the limit of {redirects}."
    )


async def _hop(
    recorder: Recorder,
    network: Network,
    request: Request,
    hop: int,
    *,
    extra: bytes,
    body_limit: int,
    family: AddressFamily,
    unread: Callable[[int], bool],
) -> Response:
    try:
        return await fetch(
            recorder, network, request,
            extra=extra, body_limit=body_limit, family=family, unread=unread,
        )  # fmt: skip
    except ProbeError as error:
        if hop and error.reason is Reason.CONNECT_DENIED:
            raise _refused(request.url, "an address that is never asked") from None
        raise


def _sooner(one: Certificate | None, other: Certificate | None) -> Certificate | None:
    if one is None or other is None:
        return one or other
    return one if one.not_after < other.not_after else other


def _next(request: Request, status: int, location: str, seen: set[str]) -> Request:
    """The request that a redirect asks for."""
    url = _target(request.url, location)
    if url in seen:
        raise ProbeError(
            Reason.HTTP_REDIRECT_LOOP, f"The redirects lead in a circle, at {_origin(url)}."
        )
    seen.add(url)
    if request.url.secure and not url.secure:
        raise _refused(url, "it gives up TLS")
    keep = status in _REPEATED or request.method in {"GET", "HEAD"}
    method, body = (request.method, request.body) if keep else ("GET", b"")
    if _origin(url) == _origin(request.url):
        return Request(
            url, method=method, headers=request.headers, body=body,
            tls=request.settings, http2=request.http2, uds=request.uds,
        )  # fmt: skip
    if body:
        raise _refused(url, "it would take our body to another origin")
    tls = request.settings
    tls = tls and Tls(verify=tls.verify, ca=tls.ca)
    return Request(url, method=method, tls=tls, http2=request.http2)


def _target(base: Url, location: str) -> Url:
    """Where a `Location` leads, without its fragment."""
    text = location.strip(" \t")
    if len(text) > LOCATION_LIMIT:
        raise ProbeError(Reason.HTTP_REDIRECT_REFUSED, "The redirect's Location is too long.")
    if not text.isascii():
        text = quote(text.encode("latin-1"), safe=_KEPT)
    why = "it is no http URL"
    # Before joining, which drops line breaks: they may hide what stands behind them.
    if not any(c <= " " or c == "\x7f" for c in text):
        try:
            url = urldefrag(urljoin(base, text)).url
            if "@" not in urlsplit(url).netloc:
                return Url.parse(url)
            why = "it holds a user or a password"
        except (PydanticCustomError, ValueError):
            pass
    raise ProbeError(
        Reason.HTTP_REDIRECT_REFUSED, f"The redirect's Location is not followed: {why}."
    )


def _refused(url: Url, why: str) -> ProbeError:
    message = f"The redirect leads to {_origin(url)} and is not followed: {why}."
    return ProbeError(Reason.HTTP_REDIRECT_REFUSED, message)


def _origin(url: Url) -> str:
    return f"{'https' if url.secure else 'http'}://{url.authority}"
