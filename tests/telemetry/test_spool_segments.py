"""Files of the spool: reading whole, torn, corrupt, foreign and oversized ones."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from probed.telemetry.spool_records import HEAD, RECORD_LIMIT, SEGMENT, Encoded, pack
from probed.telemetry.spool_segments import SEGMENT_BYTES, Segments

LIMIT = 1 << 20


def request(body: bytes = b"body", items: int = 1, at: float = 100.0) -> Encoded:
    return Encoded("traces", body, items, at)


def drain(segments: Segments, since: float = 0.0) -> list[bytes]:
    bodies = []
    while (found := segments.head(since)) is not None:
        assert segments.head(since) is found
        bodies.append(found.body)
        segments.sent()
    return bodies


def written(directory: Path, *bodies: bytes) -> Path:
    """Return the only segment of a killed process."""
    segments = Segments(directory, LIMIT)
    segments.append([request(body, items=10) for body in bodies])
    (file,) = directory.glob("*.otlp")
    return file


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_was_put_comes_back_in_order_with_all_it_is(tmp_path: Path) -> None:
    first = Segments(tmp_path / "lane", LIMIT)
    first.append([Encoded("traces", b"a", 7, 1_700_000_000.25, gzip=True), request(b"")])
    first.append([Encoded("metrics", b"c", 9, 3.0)])
    second = Segments(tmp_path / "lane", LIMIT)
    found = []
    while (head := second.head(0.0)) is not None:
        found.append((head.signal, head.body, head.items, head.at, head.gzip))
        second.sent()
    assert found == [
        ("traces", b"a", 7, 1_700_000_000.25, True),
        ("traces", b"", 1, 100.0, False),
        ("metrics", b"c", 9, 3.0, False),
    ]
    assert second.lost == []


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(lives=[[b"", None], [None], [b""]])  # the cursor outlived its segment
@given(
    lives=st.lists(st.lists(st.one_of(st.binary(max_size=40), st.none()), max_size=8), max_size=5)
)
def test_lives_of_appending_and_sending_are_a_queue(
    tmp_path_factory: pytest.TempPathFactory, lives: Sequence[Sequence[bytes | None]]
) -> None:
    """A body is appended, None sends the oldest; each process is killed."""
    directory = tmp_path_factory.mktemp("spool") / "lane"
    expected: list[bytes] = []
    for life in lives:
        segments = Segments(directory, LIMIT)
        for step in life:
            if step is not None:
                segments.append([request(step)])
                expected.append(step)
                continue
            head = segments.head(0.0)
            assert (None if head is None else head.body) == (expected[0] if expected else None)
            segments.sent()
            del expected[:1]
    last = Segments(directory, LIMIT)
    assert last.size == sum(HEAD + len(body) for body in expected)
    assert drain(last) == expected
    assert last.lost == []


def test_a_segment_of_a_previous_life_is_never_written_to(tmp_path: Path) -> None:
    file = written(tmp_path / "lane", b"one")
    before = file.read_bytes()
    segments = Segments(tmp_path / "lane", LIMIT)
    segments.append([request(b"two")])
    assert file.read_bytes() == before
    assert files(tmp_path / "lane") == ["00000001.otlp", "00000002.otlp"]
    assert drain(segments) == [b"one", b"two"]


def test_a_last_record_that_is_torn_anywhere_is_passed_over(tmp_path: Path) -> None:
    file = written(tmp_path / "model", b"first", b"the last one")
    whole = file.read_bytes()
    begins = len(whole) - HEAD - len(b"the last one")
    for length in range(begins, len(whole)):
        directory = tmp_path / str(length)
        directory.mkdir()
        (directory / file.name).write_bytes(whole[:length])
        segments = Segments(directory, LIMIT)
        segments.append([request(b"later")])
        assert drain(segments) == [b"first", b"later"], length
        # Nobody was told that it was there.
        assert segments.lost == [], length


def test_a_head_of_a_segment_that_is_torn_anywhere_is_passed_over(tmp_path: Path) -> None:
    for length in range(len(SEGMENT)):
        directory = tmp_path / str(length)
        directory.mkdir()
        (directory / "00000001.otlp").write_bytes(SEGMENT[:length])
        segments = Segments(directory, LIMIT)
        segments.append([request(b"later")])
        assert drain(segments) == [b"later"], length
        assert files(directory) == ["00000002.otlp", "cursor"], length


def test_a_damaged_byte_anywhere_costs_one_record(tmp_path: Path) -> None:
    file = written(tmp_path / "model", b"first", b"second", b"third")
    whole = file.read_bytes()
    begins = len(SEGMENT) + HEAD + len(b"first")
    for index in range(begins, begins + HEAD + len(b"second")):
        directory = tmp_path / str(index)
        directory.mkdir()
        damaged = bytearray(whole)
        damaged[index] ^= 0x41
        (directory / file.name).write_bytes(damaged)
        segments = Segments(directory, LIMIT)
        assert drain(segments) == [b"first", b"third"], index
        ((items, why),) = segments.lost
        assert (why, items > 0) == ("corrupt", True), index
        # What a head says that may be damaged itself is believed within bounds.
        assert items == 10 or index < begins + 4 or 12 <= index - begins < 16, index


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=300), head=st.booleans())
def test_noise_is_no_record_and_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, head: bool
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    file = directory / "00000005.otlp"
    file.write_bytes((SEGMENT if head else b"") + noise + pack(request(b"good")))
    segments = Segments(directory, LIMIT)
    segments.append([request(b"later")])
    found = drain(segments)
    # The good one can be lost only in what takes the place of the segment's head.
    assert found[-1] == b"later"
    assert found[:-1] == [b"good"] or (not head and len(noise) < len(SEGMENT))


def test_a_payload_that_looks_like_records_is_a_payload(tmp_path: Path) -> None:
    inner = pack(request(b"inner"))
    segments = Segments(tmp_path / "lane", LIMIT)
    segments.append([request(inner * 200), request(b"x")])
    assert drain(Segments(tmp_path / "lane", LIMIT)) == [inner * 200, b"x"]


def test_a_format_that_is_not_known_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer = tmp_path / "00000007.otlp"
    newer.write_bytes(b"probed-spool/2\n\nwhatever it may be")
    for _ in range(2):
        segments = Segments(tmp_path, LIMIT)
        segments.append([request(b"ours")])
        assert drain(segments) == [b"ours"]
        segments.close()
    assert newer.read_bytes() == b"probed-spool/2\n\nwhatever it may be"
    assert files(tmp_path) == ["00000007.otlp"]
    messages = [record.getMessage() for record in caplog.records]
    assert [m for m in messages if "format 2" in m] == messages
    assert len(messages) == 2


def test_what_was_sent_is_not_sent_again_in_the_next_life(tmp_path: Path) -> None:
    first = Segments(tmp_path, LIMIT)
    first.append([request(b"one"), request(b"two"), request(b"three")])
    assert first.head(0.0) is not None
    first.sent()
    assert drain(Segments(tmp_path, LIMIT)) == [b"two", b"three"]


@pytest.mark.parametrize("cursor", [b"", b"probed-cursor/9 1 60\n", b"probed-cursor/1 1 6", b"\0" * 9,
                                    b"probed-cursor/1 1 999999\n", b"probed-cursor/1 8 60\n"])  # fmt: skip
def test_a_cursor_that_is_of_no_use_loses_nothing_of_other_segments(
    tmp_path: Path, cursor: bytes
) -> None:
    written(tmp_path, b"one")
    segments = Segments(tmp_path, LIMIT)
    segments.append([request(b"two")])
    (tmp_path / "cursor").write_bytes(cursor)
    found = drain(Segments(tmp_path, LIMIT))
    assert found == ([b"two"] if b"999999" in cursor else [b"one", b"two"])


def test_nothing_is_left_of_what_was_sent(tmp_path: Path) -> None:
    segments = Segments(tmp_path, LIMIT)
    segments.append([request(b"x")])
    assert drain(segments) == [b"x"]
    segments.close()
    assert files(tmp_path) == []


def test_past_the_limit_the_oldest_segment_goes_and_its_items_count(tmp_path: Path) -> None:
    segments = Segments(tmp_path, 8000)
    for number in range(40):
        segments.append([request(bytes([number]) * 500, items=3)])
        assert sum(path.stat().st_size for path in tmp_path.glob("*.otlp")) <= 8000
    kept = [body[0] for body in drain(segments)]
    assert kept == list(range(kept[0], 40))
    assert len(kept) >= 10
    assert {why for _, why in segments.lost} == {"queue_full"}
    assert sum(items for items, _ in segments.lost) == 3 * kept[0]


def test_a_request_that_is_under_way_when_its_segment_goes_counts_once(tmp_path: Path) -> None:
    for sent in (True, False):
        segments = Segments(tmp_path / str(sent), 4000)
        segments.append([request(b"a" * 1000, items=5)])
        assert segments.head(0.0) is not None
        for _ in range(3):
            segments.append([request(b"b" * 1000, items=1)])
        assert segments.lost == []
        if sent:
            segments.sent()
        assert [body[:1] for body in drain(segments)] == [b"b"] * 3
        assert segments.lost == ([] if sent else [(5, "queue_full")])


def test_what_can_never_fit_is_dropped_and_counted(tmp_path: Path) -> None:
    segments = Segments(tmp_path, 2 * RECORD_LIMIT)
    segments.append([request(b"x" * (RECORD_LIMIT + 1), items=4), request(b"y")])
    assert drain(segments) == [b"y"]
    assert segments.lost == [(4, "too_large")]
    small = Segments(tmp_path / "small", 300)
    small.append([request(b"%d" % n + b"x" * 100, items=2) for n in range(5)])
    assert [body[:1] for body in drain(small)] == [b"3", b"4"]
    assert small.lost == [(2, "queue_full")] * 3


def test_a_limit_that_was_lowered_holds_from_the_start(tmp_path: Path) -> None:
    segments = Segments(tmp_path, 100_000)
    for number in range(30):
        segments.append([request(bytes([number]) * 3000)])
    lower = Segments(tmp_path, 50_000)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.otlp")) <= 50_000
    kept = [body[0] for body in drain(lower)]
    assert kept == list(range(kept[0], 30))
    assert kept
    assert lower.lost == [(kept[0], "queue_full")] or len(lower.lost) > 1


def test_segments_end_at_their_size(tmp_path: Path) -> None:
    segments = Segments(tmp_path, 128 << 20)
    block = os.urandom(3 << 20)
    for _ in range(4):
        segments.append([request(block)])
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.otlp"))]
    assert len(sizes) == 2
    assert sizes[0] >= SEGMENT_BYTES


def test_what_is_too_old_is_dropped_one_by_one(tmp_path: Path) -> None:
    segments = Segments(tmp_path, LIMIT)
    segments.append([request(b"%d" % n, items=n, at=float(n)) for n in range(1, 6)])
    assert segments.oldest == 1.0
    held = segments.head(0.0)
    assert held is not None
    assert drain(segments, since=4.0) == [b"4", b"5"]
    assert segments.lost == [(1, "too_old"), (2, "too_old"), (3, "too_old")]
    assert segments.oldest is None


def test_files_that_were_deleted_under_us_are_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    segments = Segments(tmp_path / "lane", LIMIT)
    segments.append([request(b"gone")])
    shutil.rmtree(tmp_path / "lane")
    segments.append([request(b"kept")])
    assert drain(segments) == [b"kept"]
    assert segments.lost == [(1, "corrupt")]
    assert "cannot be read" in caplog.text


def test_what_cannot_be_read_is_left_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "00000003.otlp").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    caplog.set_level(logging.WARNING)
    segments = Segments(tmp_path, LIMIT)
    segments.append([request(b"x")])
    assert drain(segments) == [b"x"]
    segments.close()
    assert files(tmp_path) == ["00000003.otlp", "notes.txt"]
    assert len(caplog.records) == 1


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    file = written(tmp_path / "lane", b"x")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_batch_that_cannot_be_synced_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing disk is not available to tests, so its error is simulated."""

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    segments = Segments(tmp_path, LIMIT)
    segments.append([request(b"one")])
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output"):
                segments.append([request(b"two")])
    assert len(list(tmp_path.glob("*.otlp"))) == 1
    segments.append([request(b"three")])
    assert drain(segments) == [b"one", b"three"]
