"""What surrounds the program: the files of the resolver."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probed.net import Resolver

pytestmark = pytest.mark.anyio
FUZZ = settings.get_profile(os.environ.get("PROBED_FUZZ", "suite"))
WORDS = [
    b"nameserver", b"127.0.0.1", b"::1", b"fe80::1%eth0", b"localhost", b"search", b"a..b", b"corp.test", b"domain", b"options",
    b"ndots:5", b"ndots:x", b"ndots:-1", b"rotate", b"timeout:0", b"#", b";", b"\n", b"\n", b"\t", b" ", b"\0", b"\xff", b"\r\n",
    b"host", b"HOST.test", b"256.1.1.1", b"0x7f.1", b"x" * 300, "\u2028".encode(), "\u0661".encode(),
]  # fmt: skip
FILES = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=12)), max_size=30).map(
    b" ".join
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@settings(FUZZ)
@given(
    hosts=FILES,
    resolv=FILES,
    host=st.sampled_from(
        ["host", "HOST.test", "127.1", "localhost", "x.invalid", "[::1]", "0x7f.1"]
    ),
)
@example(hosts=b"", resolv=b"nameserver localhost", host="host")
async def test_files_of_the_resolver(
    tmp_path_factory: pytest.TempPathFactory, hosts: bytes, resolv: bytes, host: str
) -> None:
    folder: Path = tmp_path_factory.getbasetemp()
    (folder / "hosts").write_bytes(hosts)
    (folder / "resolv.conf").write_bytes(resolv)
    resolver = Resolver(hosts=folder / "hosts", resolv_conf=folder / "resolv.conf")
    resolver.prepare(host)
    servers = resolver.name_servers()
    assert servers
    assert resolver._configuration().candidates("host")
    # Only what is known without asking anybody: these name servers are made up.
    known = resolver._known(host)
    if known is not None:
        assert await resolver.addresses(host) == known
