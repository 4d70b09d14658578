"""email_roundtrip: no mail but our own is ever counted, marked or removed, whatever a server says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from probed import Outcome
from probed.model import Result
from probed.testing import Peer
from probes.email_roundtrip.canary import sent_at, token_of
from probes.email_roundtrip.folders import EXAMINED

pytestmark = pytest.mark.anyio

LIES = [
    (), ("ignores criteria",), ("finds others",), ("fetches another",),
    ("ignores criteria", "fetches another"), ("new validity at SEARCH",), ("new validity at FETCH",),
    ("new validity at STORE",), ("ignores criteria", "new validity at FETCH"),
    ("ignores criteria", "loses"), ("finds others", "loses"), ("fetches another", "loses"),
]  # fmt: skip


def reasons(result: Result) -> list[tuple[str, str]]:
    return [(finding.level.value, str(finding.reason)) for finding in result.findings]


def named(post: Any, verb: str) -> set[int]:
    """The UIDs that commands of this kind named."""
    found = set[int]()
    for command in post.commands:
        if command.startswith(f"UID {verb} "):
            found |= {int(uid) for uid in command.split()[2].split(",")}
    return found


@pytest.mark.parametrize("lies", LIES)
@pytest.mark.parametrize("uidplus", [True, False])
async def test_no_mail_of_others_is_touched(
    post: Any, lies: tuple[str, ...], uidplus: bool
) -> None:
    post.add_foreign(60)
    post.add_foreign(5, b"Junk")
    ours = post.add_old(3)
    post.lies |= set(lies)
    post.capability = b"IMAP4rev1 UIDPLUS" if uidplus else b"IMAP4rev1"
    before = {name: post.uids(name) for name in post.folders}
    result = await post.run(delivery={"failed": "300ms"})
    assert named(post, "STORE") | named(post, "EXPUNGE") <= set(ours)
    assert set(post.marked) <= set(ours)
    for name, uids in before.items():
        assert set(uids) - set(post.uids(name)) <= set(ours)
    assert len(named(post, "FETCH")) <= EXAMINED
    assert not any(re.match(r"EXPUNGE|CLOSE|UID MOVE|UID COPY", c) for c in post.commands)
    assert uidplus or not named(post, "EXPUNGE")
    if "loses" in lies or set(lies) & {"finds others", "fetches another"}:
        assert reasons(result) == [("failed", "roundtrip.not_arrived")]
    elif any("validity" in lie for lie in lies):
        assert reasons(result) == [("failed", "imap.protocol")]
    else:
        assert result.outcome is Outcome.OK, result.findings


async def test_a_server_that_ignores_criteria_is_told_and_our_mail_is_found(post: Any) -> None:
    post.add_foreign(200)
    post.lies.add("ignores criteria")
    result = await post.run()
    assert result.outcome is Outcome.OK, result.findings
    assert result.facts["probed.email_roundtrip.search_is_exact"] is False
    assert len(post.uids()) == 201


async def test_old_mails_of_ours_are_removed(post: Any) -> None:
    ours, young = post.add_old(3), post.add_old(1, age=3600.0)
    result = await post.run()
    assert result.outcome is Outcome.OK, result.findings
    assert "probed.email_roundtrip.search_is_exact" not in result.facts
    assert set(ours) & set(post.uids()) == set()
    assert set(young) < set(post.uids())
    assert len(post.uids()) == 2


async def test_one_run_looks_at_a_bounded_number(post: Any) -> None:
    post.add_old(200)
    await post.run()
    assert len(named(post, "FETCH")) == EXAMINED
    assert len(post.uids()) == 200 + 1 - (EXAMINED - 1)


async def test_without_lasting_uids_nothing_is_removed(post: Any) -> None:
    ours = post.add_old(3)
    post.validity = None
    result = await post.run()
    assert result.outcome is Outcome.OK, result.findings
    assert set(ours) < set(post.uids())
    assert not named(post, "STORE")


@pytest.mark.parametrize(
    "text",
    [
        b"* 1 FETCH (UID 1000 UID 1001 BODY[HEADER.FIELDS (X-PROBED-TOKEN DATE)] {%d}\r\n%s)\r\n",
        b"* 1 FETCH (BODY[HEADER.FIELDS (X-PROBED-TOKEN DATE)] {%d}\r\n%s)\r\n",
        b"* 1 FETCH (UID 1000 BODY[TEXT] {%d}\r\n%s)\r\n",
        b"* 1 FETCH (UID 1000 BODY[HEADER.FIELDS (X-PROBED-TOKEN DATE)] {%d}\r\n%s X {1}\r\nx)\r\n",
        b"* 1 FETCH (UID 11000 BODY[HEADER.FIELDS (X-PROBED-TOKEN DATE)] {%d}\r\n%s)\r\n",
        b"* 1 OTHER (UID 1000 BODY[HEADER.FIELDS (X-PROBED-TOKEN DATE)] {%d}\r\n%s)\r\n",
    ],
)
async def test_an_answer_that_names_no_one_message_does_not_count(post: Any, text: bytes) -> None:
    async def answer(peer: Peer) -> None:
        header = b"X-Probed-Token: " + post.folders[b"INBOX"][-1].token + b"\r\n\r\n"
        tag = post.lines[-1].partition(b" ")[0]
        await peer.send(text % (len(header), header) + tag + b" OK\r\n")

    post.instead[b"UID FETCH"] = answer
    result = await post.run(delivery={"failed": "200ms"})
    assert reasons(result) == [("failed", "roundtrip.not_arrived")]
    assert not named(post, "STORE")


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (b"X-Probed-Token: a-1\r\n\r\n", "a-1"), (b"x-probed-token:a-1\r\n\r\n", "a-1"),
        (b"X-Probed-Token: a-1\r\nX-Probed-Token: b-1\r\n\r\n", None), (b"\r\n", None), (b"", None),
        (b"Subject: x\r\n\r\nX-Probed-Token: a-1\r\n", None), (b"\xff\x00", None),
    ],
)  # fmt: skip
def test_the_token_of_a_header(header: bytes, token: str | None) -> None:
    assert token_of(header) == token


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        (b"Thu, 01 Jan 1970 00:01:00 +0000", 60.0), (b"yesterday", None), (b"", None),
        (b"Thu, 01 Jan 99999 00:00:00 +0000", None), (b"Thu, 31 Feb 2020 00:00:00 +0000", None),
    ],
)  # fmt: skip
def test_the_time_of_a_header(date: bytes, seconds: float | None) -> None:
    assert sent_at(b"Date: " + date + b"\r\n\r\n") == seconds
