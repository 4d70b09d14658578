from importlib import metadata
from typing import Any

import pytest

from probed import Probe, Reasons, Run
from probed.registry import (
    Registry,
    RegistryError,
    UnknownKindError,
    check_foreign_probes_package,
    unique,
)


class Ping(Probe):
    kind = "ping"

    async def probe(self, run: Run) -> None:
        """Ask nothing."""


class Clash(Reasons):
    OWN = "clash.own", "Its own."
    REFUSED = "connect.refused", "Not its own."


class Clashing(Ping):
    kind = "clashing"
    reasons = Clash


class Unfinished(Probe):
    kind = "unfinished"


def refusal(kind: str, value: Any) -> str:
    with pytest.raises(RegistryError) as caught:
        Registry({kind: value})
    return str(caught.value)


def test_offers_the_kinds_it_is_given() -> None:
    registry = Registry({"ping": Ping})
    assert registry.kinds() == ("ping",)
    assert registry.load("ping") is Ping


def test_names_what_is_meant_by_an_unknown_kind() -> None:
    with pytest.raises(UnknownKindError) as caught:
        Registry({"ping": Ping}).load("pign")
    assert str(caught.value) == "unknown probe kind; did you mean `ping`? there are ping"
    with pytest.raises(UnknownKindError, match=r"^unknown probe kind; none is installed$"):
        Registry({}).load("ping")


def test_knows_the_names_of_entry_points_without_importing_them() -> None:
    offers = unique([entry("nowhere", "nowhere.to_be_found:Probe")])
    assert list(offers) == ["nowhere"]


def test_reads_the_entry_points_of_this_distribution() -> None:
    names = {offer.name for offer in metadata.entry_points(group="probed.probes")}
    assert set(Registry().kinds()) == names


def test_refuses_two_packages_with_one_kind() -> None:
    with pytest.raises(RegistryError) as caught:
        unique([entry("ping", "a.b:Ping"), entry("ping", "c.d:Ping")])
    assert str(caught.value) == (
        "the probe kind `ping` is offered by a.b:Ping and c.d:Ping; uninstall one of them"
    )


def test_takes_what_is_found_twice_for_one() -> None:
    assert list(unique([entry("ping", "a.b:Ping"), entry("ping", "a.b:Ping")])) == ["ping"]


def test_refuses_what_is_no_probe() -> None:
    assert refusal("ping", object()) == "the probe kind `ping` is not a subclass of probed.Probe"
    assert refusal("ping", dict) == "the probe kind `ping` is not a subclass of probed.Probe"


def test_refuses_a_class_of_another_name() -> None:
    assert refusal("pong", Ping).endswith("calls itself 'ping'; both names must be the same")


def test_refuses_a_class_that_asks_nothing() -> None:
    assert refusal("unfinished", Unfinished).endswith("does not implement `probe`")


def test_refuses_a_shared_reason_defined_again() -> None:
    assert refusal("clashing", Clashing).endswith("redefines the shared reason connect.refused")


def test_refuses_a_foreign_package_named_probes() -> None:
    check_foreign_probes_package({"probes": ["probed-daemon", "probed-daemon"]})
    check_foreign_probes_package({})
    with pytest.raises(RegistryError, match="installed by probed-daemon and probes,"):
        check_foreign_probes_package({"probes": ["probes", "probed-daemon"]})


def test_sees_no_foreign_package_here() -> None:
    check_foreign_probes_package()


def entry(name: str, value: str) -> metadata.EntryPoint:
    return metadata.EntryPoint(name, value, "probed.probes")
