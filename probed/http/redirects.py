"""Redirects, hop by hop (RFC 9110 section 15.4): each hop gets a new connection and no trust."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urldefrag, urljoin, urlsplit

from pydantic_core import PydanticCustomError

from probed.fields import Tls, Url
from probed.http.message import Request, Response
from probed.http.roundtrip import fetch
from probed.net import AddressFamily, Network
from probed.reasons import ProbeError, Reason
from probed.record import Recorder, earliest

REDIRECT_LIMIT = 10
LOCATION_LIMIT = 8192
"""Longest `Location` that is followed, in bytes."""
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})
_UNQUOTED = "!#$%&'()*+,-./:;=?@[]_~"
"""Characters of a URL that stay as they are. Bytes outside ASCII are percent-encoded, as in
browsers.
"""


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
    """Fetch, and follow at most `redirects` redirects. The phases of hop 1 begin with `redirect/1/`.
    A response whose status is `final` is returned, even if it redirects.

    Another origin gets neither the configured headers nor our certificate. A hop never leads from
    https to http, nor to a denied address. The body of a redirect is not read. The facts are those
    of the last hop; the recorded certificate is the one that expires first. Raises what `fetch`
    raises, and ProbeError `http.redirect_*` or `http.too_many_redirects`.
    """

    def leads_on(status: int) -> bool:
        return status in REDIRECT_STATUSES and not (final and final(status))

    prefix, seen, first_to_expire = recorder.prefix, {str(request.url)}, None
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
            recorder.certificate = first_to_expire = earliest(
                (first_to_expire, recorder.certificate)
            )
            location = answer.header("location")
            if location is None or not leads_on(answer.status):
                return answer
            if hop < redirects:
                request = _next(request, answer.status, location, seen)
                request.shown = _origin(request.url)  # a peer's paths may hold tokens
    finally:
        recorder.prefix = prefix
    raise ProbeError(
        Reason.HTTP_TOO_MANY_REDIRECTS, f"The peer redirects more than {redirects} times."
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
            raise _refused(request.url, "its address is on the deny list") from None
        raise


def _next(request: Request, status: int, location: str, seen: set[str]) -> Request:
    """Return the request that the redirect leads to."""
    url = _target(request.url, location)
    if url in seen:
        raise ProbeError(Reason.HTTP_REDIRECT_LOOP, f"The redirects loop, at {_origin(url)}.")
    seen.add(url)
    if request.url.secure and not url.secure:
        raise _refused(url, "it leads from https to http")
    same_method = status in _SAME_METHOD or request.method in {"GET", "HEAD"}
    method, body = (request.method, request.body) if same_method else ("GET", b"")
    if _origin(url) == _origin(request.url):
        return Request(
            url, method=method, headers=request.headers, body=body,
            tls=request.settings, http2=request.http2, uds=request.uds,
        )  # fmt: skip
    if body:
        raise _refused(url, "the request body would go to another origin")
    tls = request.settings
    tls = tls and Tls(verify=tls.verify, ca=tls.ca)
    return Request(url, method=method, tls=tls, http2=request.http2)


def _target(base: Url, location: str) -> Url:
    """Return the target of a `Location`, without its fragment."""
    text = location.strip(" \t")
    if len(text) > LOCATION_LIMIT:
        raise ProbeError(
            Reason.HTTP_REDIRECT_REFUSED, "The redirect's Location header is too long."
        )
    if not text.isascii():
        text = quote(text.encode("latin-1"), safe=_UNQUOTED)
    why = "not an http URL"
    # Check before `urljoin`, which drops line breaks and so could hide what follows them.
    if not any(c <= " " or c == "\x7f" for c in text):
        try:
            url = urldefrag(urljoin(base, text)).url
            if "@" not in urlsplit(url).netloc:
                return Url.parse(url)
            why = "the URL contains a user name or password"
        except (PydanticCustomError, ValueError):
            pass
    raise ProbeError(
        Reason.HTTP_REDIRECT_REFUSED, f"The redirect's Location header is not followed: {why}."
    )


def _refused(url: Url, why: str) -> ProbeError:
    message = f"The redirect to {_origin(url)} is not followed: {why}."
    return ProbeError(Reason.HTTP_REDIRECT_REFUSED, message)


def _origin(url: Url) -> str:
    return f"{'https' if url.secure else 'http'}://{url.authority}"
