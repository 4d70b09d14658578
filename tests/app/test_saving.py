"""What has changed is saved, and what is looked at is whole before it is saved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from probed import HostPort, Outcome, Probe, Run
from probed.app.saving import Saver
from probed.config import Check
from probed.engine.history import History
from probed.model import Result
from probed.store.checks import Store
from probed.testing import FakeClock

pytestmark = pytest.mark.anyio


class Nothing(Probe):
    """Asks nobody."""

    kind = "nothing"
    address: HostPort = HostPort("a.test", 1)

    async def probe(self, run: Run) -> None:
        """Do nothing."""


@dataclass
class Bench:
    """A saver, and what it did before and after it saved."""

    store: Store
    history: History = field(default_factory=lambda: History([CHECK]))
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.saver = Saver(self.history, self.store, self.clock, self, self.flush)

    async def flush(self) -> None:
        self.done.append("telemetry is on disk")

    def saved(self, *, ok: bool) -> None:
        self.done.append("saved" if ok else "not saved")

    def fail(self, times: int = 2, host: str = "a.test") -> None:
        for _ in range(times):
            self.history.apply(
                Result("web", "nothing", f"{host}:1", Outcome.FAILED, 5.0, 0.5, "0" * 32, "")
            )

    async def news(self) -> list[str]:
        return [each.new.value for each in await self.saver.transitions("web")]


CHECK = Check("web", Nothing(), fail_after=2)


async def test_traces_are_on_disk_before_the_state_that_they_tell_of(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path))
    await bench.saver.save()
    assert bench.done == [], "nothing has changed"
    bench.fail()
    await bench.saver.save()
    assert bench.done == ["telemetry is on disk", "saved"]
    bench.store.close()


async def test_transitions_are_seen_before_and_after_they_are_saved(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path))
    assert await bench.news() == []
    bench.fail()
    assert await bench.news() == ["down"]
    await bench.saver.save()
    assert not bench.history.pending
    assert await bench.news() == ["down"]
    assert await bench.saver.transitions("another") == []
    bench.store.close()


async def test_where_nothing_can_be_saved_they_are_still_seen(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path / "missing"))
    bench.fail()
    await bench.saver.save()
    assert bench.done == ["telemetry is on disk", "not saved"]
    assert await bench.news() == ["down"]


async def test_without_a_state_directory_they_are_held_in_memory() -> None:
    bench = Bench(Store(None))
    bench.fail()
    await bench.saver.save()
    assert bench.done == [], "nothing goes to disk"
    assert await bench.news() == ["down"]
    bench.store.close()


async def test_transitions_of_an_earlier_target_are_not_those_of_the_check(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path))
    bench.fail()
    await bench.saver.save()
    bench.history.replace([replace(CHECK, probe=Nothing(address=HostPort("b.test", 1)))])
    assert await bench.news() == []
    bench.fail(host="b.test")
    assert await bench.news() == ["down"]
    bench.history.replace([CHECK])
    assert await bench.news() == ["down"]
    bench.store.close()


async def test_a_file_that_was_deleted_gets_all_that_is_known(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path))
    bench.fail()
    await bench.saver.save()
    await bench.saver.save(everything=True)
    (tmp_path / "state.db").unlink()
    await bench.saver.save(everything=True)
    assert bench.store.renewed
    await bench.saver.save()
    assert not bench.store.renewed
    assert await bench.news() == ["down"], "transitions too"
    bench.store.close()
    again = Store(tmp_path)
    assert set(await again.load(5.0)) == {"web"}
    again.close()
