"""Authority: each kind of certificate is rejected for the reason in its name."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest

from probed.reasons import Reason, classify
from probed.testing.certificates import KINDS, Authority, Issued
from probed.testing.peer import Peer
from probed.testing.servers import serve

pytestmark = pytest.mark.anyio

REASONS = {
    "expired": Reason.TLS_EXPIRED,
    "not_yet_valid": Reason.TLS_NOT_YET_VALID,
    "wrong_name": Reason.TLS_WRONG_NAME,
    "self_signed": Reason.TLS_SELF_SIGNED,
    "incomplete_chain": Reason.TLS_UNTRUSTED,
    "stranger": Reason.TLS_UNTRUSTED,
    "sha1": Reason.TLS_WEAK,
}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def trusting(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.pem_file(tmp_path))


async def _greet(peer: Peer) -> None:
    await peer.send(b"hello\n")


async def _first_line(issued: Issued, client: ssl.SSLContext) -> bytes:
    """Return what a client reads that trusts the authority and connects to good.example."""
    async with serve(_greet, tls=issued.context) as server:
        reader, writer = await asyncio.open_connection(
            server.host, server.port, ssl=client, server_hostname="good.example"
        )
        try:
            return await reader.readline()
        finally:
            writer.transport.abort()


@pytest.mark.parametrize("kind", sorted(REASONS))
async def test_a_bad_certificate_is_refused(
    kind: str, authority: Authority, trusting: ssl.SSLContext
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        await _first_line(authority.of_kind(kind, "good.example"), trusting)
    assert classify(caught.value)[0] is REASONS[kind]


def test_the_weak_certificate_differs_in_its_signature_only(authority: Authority) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA1

    weak = authority.weak("good.example")
    parsed = x509.load_pem_x509_certificate(weak.chain)
    assert isinstance(parsed.signature_hash_algorithm, SHA1)
    assert parsed.not_valid_after_utc.timestamp() == weak.not_after


async def test_a_good_certificate_is_accepted(
    authority: Authority, trusting: ssl.SSLContext
) -> None:
    for issued in (authority.issue("good.example"), authority.chained("good.example")):
        assert await _first_line(issued, trusting) == b"hello\n"


async def test_a_server_that_asks_for_a_certificate_accepts_ours(
    authority: Authority, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    issued = authority.of_kind("requires_client", "good.example")
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        await _first_line(issued, trusting)


async def test_a_client_with_a_certificate_gets_through(
    authority: Authority, trusting: ssl.SSLContext, client_files: tuple[Path, Path]
) -> None:
    trusting.load_cert_chain(*client_files)
    issued = authority.issue("good.example", clients=authority)
    assert await _first_line(issued, trusting) == b"hello\n"


@pytest.fixture
def client_files(authority: Authority, tmp_path: Path) -> tuple[Path, Path]:
    files = authority.issue("client.example").files(tmp_path)
    assert files[1].stat().st_mode & 0o077 == 0
    return files


def test_the_times_are_those_asked_for(authority: Authority) -> None:
    now = time.time()
    day = 86400
    good = authority.issue("good.example", days=21)
    assert good.not_after == pytest.approx(now + 21 * day, abs=5)
    expired = authority.issue("good.example", expired=True)
    assert expired.not_after == pytest.approx(now - day, abs=5)
    early = authority.issue("good.example", not_yet=True)
    assert early.not_before == pytest.approx(now + day, abs=5)


def test_every_kind_has_its_test() -> None:
    assert set(KINDS) == {*REASONS, "good", "requires_client"}


def test_the_context_of_a_certificate_is_made_once(authority: Authority) -> None:
    issued = authority.issue("good.example", "127.0.0.1")
    assert issued.context is issued.context
