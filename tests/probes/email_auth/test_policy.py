"""DMARC as RFC 9989 has it: the walk, the policy, alignment. Names and zones after its appendix B.4."""

from __future__ import annotations

from typing import Any

import pytest

from probed.mail import Found, TempFail
from probed.reasons import Reason
from probes.email_auth.policy import Walk, is_aligned, lowered, parse_dmarc, targets, walk

pytestmark = pytest.mark.anyio
R = "v=DMARC1; p=reject"


class Zone:
    """`{"example.com": record or records}` of `_dmarc` names; None fails for now."""

    def __init__(self, records: dict[str, Any]) -> None:
        self.records = records
        self.asked: list[str] = []

    async def __call__(self, name: str, kind: str, /) -> Found:
        assert kind == "TXT"
        plain = name.removeprefix("_dmarc.")
        self.asked.append(plain)
        found = self.records.get(plain, [])
        if found is None:
            raise TempFail(name, kind, Reason.DNS_SERVFAIL)
        texts = [found] if isinstance(found, str) else found
        return Found(tuple(text.encode() for text in texts))


async def walked(domain: str, **records: Any) -> Walk:
    return await walk(
        Zone({name.replace("_", "."): value for name, value in records.items()}), domain
    )


@pytest.mark.parametrize(
    ("domain", "names"),
    [
        ("com", "com"),
        ("example.com", "example.com com"),
        ("a.b.c.d.e.f.example.com",
         ("a.b.c.d.e.f.example.com b.c.d.e.f.example.com c.d.e.f.example.com d.e.f.example.com "
         "e.f.example.com f.example.com example.com com")),
        ("x.a.b.c.d.e.f.example.com",
         ("x.a.b.c.d.e.f.example.com b.c.d.e.f.example.com c.d.e.f.example.com d.e.f.example.com "
         "e.f.example.com f.example.com example.com com")),
        ("a.b.c.d.e.f.g.h.i.j.k.example.com",  # B.4.2
         ("a.b.c.d.e.f.g.h.i.j.k.example.com g.h.i.j.k.example.com h.i.j.k.example.com "
         "i.j.k.example.com j.k.example.com k.example.com example.com com")),
    ],
)  # fmt: skip
async def test_the_walk_asks_for_these_names_in_this_order(domain: str, names: str) -> None:
    zone = Zone({})
    await walk(zone, domain.upper() + ".")
    assert zone.asked == names.split() == targets(domain)
    assert len(zone.asked) <= 8


@pytest.mark.parametrize(
    ("domain", "records", "organization", "applying", "asked"),
    [
        ("example.com", {"example.com": R}, "example.com", "example.com", 2),
        ("mail.example.com", {"mail.example.com": R}, "mail.example.com", "mail.example.com", 3),
        ("a.mail.example.com", {"mail.example.com": R, "example.com": R}, "example.com", "example.com", 4),
        ("a.mail.example.com", {"mail.example.com": R + ";psd=n", "example.com": R},
         "mail.example.com", "mail.example.com", 2),
        ("mail.example.com", {"mail.example.com": R + "; psd=n", "example.com": R},
         "mail.example.com", "mail.example.com", 1),
        ("a.mail.example.com", {"com": R + "; psd=y"}, "example.com", "com", 4),
        ("giant.bank.example", {"giant.bank.example": R, "bank.example": R + "; psd=y"},  # B.4.3
         "giant.bank.example", "giant.bank.example", 2),
        ("mail.mega.bank.example", {"bank.example": R + "; psd=y"}, "mega.bank.example", "bank.example", 3),
        ("bank.example", {"bank.example": R + "; psd=Y"}, "bank.example", "bank.example", 2),
        ("mail.giant.bank.example", {"giant.bank.example": R, "bank.example": R + "; psd=y"},
         "giant.bank.example", "giant.bank.example", 3),
        ("mail.example.com", {"mail.example.com": [R, R], "example.com": R}, "example.com", "example.com", 3),
        ("a.b.example.com", {"b.example.com": [R + "; psd=n", R], "example.com": R},
         "example.com", "example.com", 4),
        ("mail.example.com", {"mail.example.com": ["hello", "spf"], "example.com": R},
         "example.com", "example.com", 3),
        ("mail.example.com", {"example.com": ["v=DMARC2", R]}, "example.com", "example.com", 3),
        ("a.b.example.com", {"b.example.com": R}, "b.example.com", "b.example.com", 4),
        ("mail.example.com", {}, "mail.example.com", None, 3),
    ],
)  # fmt: skip
async def test_the_walk_finds_the_organization_and_what_applies(
    domain: str, records: dict[str, Any], organization: str, applying: str | None, asked: int
) -> None:
    zone = Zone(records)
    found = await walk(zone, domain)
    assert found.organization == organization
    assert (found.applying[0] if found.applying else None) == applying
    assert len(zone.asked) == asked


@pytest.mark.parametrize(
    ("text", "own", "below", "missing"),
    [
        ("p=reject", "reject", "reject", "reject"),
        ("p=Reject; sp=NONE", "reject", "none", "none"),
        ("p = reject ;sp= none; np =quarantine", "reject", "none", "quarantine"),
        ("p=quarantine; np=reject", "quarantine", "quarantine", "reject"),
        ("p=reject; pct=0", "reject", "reject", "reject"),
        ("p=rejct", None, None, None),
        ("adkim=s", None, None, None),
        ("rua=mailto:d@example.com", "none", "none", "none"),
        ("p=block; rua=mailto:d@example.com!10m", "none", "none", "none"),
        ("p=reject; sp=bounce; rua=mailto:d@example.com", "none", "none", "none"),
        ("p=reject; np=; rua=mailto:d@example.com", "none", "none", "none"),
        ("p=reject; sp=nope; rua=d@example.com", None, None, None),
        ("p=reject; sp=nope; rua=", None, None, None),
        ("p=reject; sp=nope; rua=mailto:", None, None, None),
        ("p=reject; sp=nope; rua=x, https://r.example/d", "none", "none", "none"),
        ("nonsense; p=reject; =; ;;", "reject", "reject", "reject"),
    ],
)
def test_the_policy(text: str, own: str | None, below: str | None, missing: str | None) -> None:
    record = parse_dmarc(b"v=DMARC1; " + text.encode())
    assert record is not None
    assert record.policy(same=True, exists=True) == own
    assert record.policy(same=False, exists=True) == below
    assert record.policy(same=False, exists=False) == missing


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (b"v=DMARC1", True), (b"v = DMARC1 ; p=none", True), (b"v=DMARC1;p=none", True),
        (b"v=dmarc1; p=reject", False), (b"v=DMARC1x; p=reject", False), (b"p=reject; v=DMARC1", False),
        (b" v=DMARC1; p=reject", False), (b"V=DMARC1", False), (b"", False), (b"v=DMARC10", False),
    ],
)  # fmt: skip
def test_the_version_is_exact(text: bytes, is_one: bool) -> None:
    assert (parse_dmarc(text) is not None) is is_one


@pytest.mark.parametrize(
    ("value", "is_on"), [("y", True), ("Y", True), ("n", False), ("yes", False)]
)
def test_test_mode(value: str, is_on: bool) -> None:
    record = parse_dmarc(f"{R}; t={value}".encode())
    assert record is not None
    assert record.test_mode is is_on
    assert [lowered(policy) for policy in ("reject", "quarantine", "none")] == [
        "quarantine", "none", "none",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("author", "identifier", "records", "strict", "aligned"),
    [
        ("example.com", "example.com", {"example.com": R}, True, True),
        ("example.com", "EXAMPLE.com.", {}, True, True),
        ("mail.example.com", "example.com", {"example.com": R}, True, False),
        ("mail.example.com", "example.com", {"example.com": R}, False, True),
        ("example.com", "signing.example.com", {"example.com": R, "signing.example.com": R}, False, True),
        ("example.com", "example.net", {"example.com": R, "example.net": R}, False, False),
        ("example.com", "notexample.com", {"example.com": R}, False, False),
        ("mail.example.com", "example.com", {"mail.example.com": R}, False, False),
        ("mail.example.com", "example.com", {"mail.example.com": R + "; psd=n", "example.com": R}, False, False),
        ("giant.bank.example", "mail.giant.bank.example",
         {"giant.bank.example": R, "bank.example": R + "; psd=y"}, False, True),
        ("giant.bank.example", "mail.mega.bank.example",
         {"giant.bank.example": R, "bank.example": R + "; psd=y"}, False, False),
        ("giant.bank.example", "mega.bank.example", {"bank.example": R + "; psd=y"}, False, False),
        ("giant.bank.example", "bank.example", {"bank.example": R + "; psd=y"}, False, False),
        ("bank.example", "mail.bank.example", {"bank.example": R + "; psd=y"}, False, False),
    ],
)  # fmt: skip
async def test_alignment(
    author: str, identifier: str, records: dict[str, Any], strict: bool, aligned: bool
) -> None:
    zone = Zone(records)
    assert await is_aligned(zone, await walk(zone, author), identifier, strict=strict) is aligned


async def test_a_walk_that_fails_above_keeps_what_it_has() -> None:
    zone = Zone({"example.com": R, "com": None})
    found = await walk(zone, "mail.example.com")
    assert found.applying is not None
    assert found.error is not None
    assert found.error.name == "_dmarc.com"
    assert await is_aligned(zone, found, "mail.example.com", strict=False)
    with pytest.raises(TempFail):
        await is_aligned(zone, found, "example.com", strict=False)


async def test_a_walk_that_fails_below_has_nothing() -> None:
    found = await walk(Zone({"mail.example.com": None, "example.com": R}), "mail.example.com")
    assert found.applying is None
    assert found.error is not None


async def test_near_misses_are_told() -> None:
    found = await walk(Zone({"example.com": "v=dmarc1; p=reject"}), "example.com")
    assert found.near == ("example.com",)
    assert found.applying is None
