"""The resolver's configuration is read as glibc reads it, whatever stands in the file."""

from __future__ import annotations

import logging
from pathlib import Path

import dns.name
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probed import ProbeError
from probed.net import Resolver
from probed.net.resolv_conf import FILE_LIMIT, ResolvConf, read_resolv_conf
from probed.testing import dns_server

pytestmark = pytest.mark.anyio


def read(folder: Path, text: str | bytes) -> ResolvConf:
    path = folder / "resolv.conf"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_resolv_conf(path)


def test_the_usual_file(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "# by hand\nnameserver 192.0.2.53\nnameserver 2001:db8::53 # two\nnameserver fe80::1%eth0\n"
        "nameserver 192.0.2.54\ndomain old.test\nsearch one.test two.test\n"
        "options ndots:5 timeout:1 rotate\n",
    )
    assert found.servers == (("192.0.2.53", 53), ("2001:db8::53", 53), ("fe80::1%eth0", 53))
    assert [str(name) for name in found.search] == ["one.test.", "two.test."]
    assert (found.ndots, found.rotate) == (5, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nameserver localhost\nnameserver 192.0.2.53\n", "no address of a name server"),
        ("nameserver\nnameserver 192.0.2.53\n", "no address of a name server"),
        ("nameserver 192.0.2.53\nsearch a..b one.test\n", "a domain that is no name"),
        (b"; caf\xe9\nnameserver 192.0.2.53\n", ""),
        ("nameserver 192.0.2.53\noptions ndots:x ndots: rotate:1 \u0660\n", ""),
        ("\0\nnameserver 192.0.2.53\n" + "x" * (2 * FILE_LIMIT), ""),
        ("nameserver 192.0.2.53\noptions ndots:99999999999999999999\n", ""),
    ],
)
def test_a_line_that_is_wrong_is_passed_over_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | bytes, said: str
) -> None:
    caplog.set_level(logging.WARNING)
    found = read(tmp_path, text)
    assert found.servers == (("192.0.2.53", 53),)
    assert found.ndots in {1, 15}
    assert said in caplog.text
    assert bool(caplog.records) is bool(said)


def test_no_file_and_an_empty_one_name_the_local_server(tmp_path: Path) -> None:
    assert read(tmp_path, "").servers == (("127.0.0.1", 53),)
    assert read_resolv_conf(tmp_path / "none").servers == (("127.0.0.1", 53),)
    assert read_resolv_conf(tmp_path).servers == (("127.0.0.1", 53),), "a directory"


@settings(max_examples=300, deadline=None, database=None)
@given(data=st.binary(max_size=200) | st.text(
    st.sampled_from("namesrvopticdh: \n\t1920.::%#;x\u2028"), max_size=120).map(str.encode))  # fmt: skip
def test_any_bytes_are_a_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    found = read(tmp_path_factory.getbasetemp(), data)
    assert found.servers
    assert found.candidates("host")


@pytest.mark.parametrize(
    ("host", "ndots", "names"),
    [
        ("api", 1, ["api.one.test.", "api.two.test.", "api."]),
        ("api.partner.test", 1, ["api.partner.test.", "api.partner.test.one.test.", "api.partner.test.two.test."]),
        ("api.partner.test", 5, ["api.partner.test.one.test.", "api.partner.test.two.test.", "api.partner.test."]),
        ("api.", 5, ["api."]),
        ("a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 55, 9, ["a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 55 + "."]),
    ],
)  # fmt: skip
def test_names_are_completed_as_glibc_does(host: str, ndots: int, names: list[str]) -> None:
    search = tuple(map(dns.name.from_text, ("one.test", "two.test")))
    found = ResolvConf(search=search, ndots=ndots).candidates(host)
    assert [name.to_text() for name in found] == names


async def test_the_search_goes_on_where_a_name_has_no_address(tmp_path: Path) -> None:
    """Only TXT at the completed name: glibc looks up the next one, and so do we."""
    zone = {
        ("api.partner.test.corp.test", "TXT"): ['"x"'],
        ("api.partner.test", "A"): ["192.0.2.7"],
    }
    async with dns_server(zone) as server:
        resolver = Resolver([server.server], hosts=None)
        resolver.prepare("api.partner.test")
        resolver._settings = ResolvConf(
            (server.server,), (dns.name.from_text("corp.test"),), ndots=5
        )
        assert await resolver.addresses("api.partner.test", "ipv4") == ["192.0.2.7"]
        with pytest.raises(ProbeError) as caught:
            await resolver.addresses("none.partner.test", "ipv4")
    assert caught.value.reason == "dns.nxdomain"


async def test_a_file_that_becomes_another_is_seen(tmp_path: Path) -> None:
    """A link that is turned to a file of the same age and size."""
    path = tmp_path / "resolv.conf"
    for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.2")):
        (tmp_path / name).write_text(f"nameserver {address}\n")
    path.symlink_to(tmp_path / "a")
    import os

    stat = (tmp_path / "a").stat()
    os.utime(tmp_path / "b", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    resolver = Resolver(resolv_conf=path)
    assert resolver.name_servers() == [("192.0.2.1", 53)]
    path.unlink()
    path.symlink_to(tmp_path / "b")
    assert resolver.name_servers() == [("192.0.2.2", 53)]


async def test_with_rotate_each_server_comes_first_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions rotate\n")
    resolver = Resolver(resolv_conf=path)
    first = [resolver.name_servers()[0][0] for _ in range(4)]
    assert sorted(first) == ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"]
    assert first[0] == first[2] != first[1]
