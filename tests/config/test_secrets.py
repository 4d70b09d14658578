"""Secrets are found where they are, and are seen nowhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from probed import Private, Probe, Run, SecretStr
from probed.config import Config, ConfigError, load, loads
from probed.config.diff import compare, lines
from probed.config.show import show
from probed.registry import Registry
from probed.text.redact import MASK

Read = Callable[..., Config]
CANARY = "canary-3f9c1b"


def site(rest: str) -> str:
    return "checks:\n  - name: a\n    probe: site\n    url: https://h/\n    " + rest + "\n"


def probe(config: Config) -> Any:
    return config.checks[0].probe


def value(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (
        ("plain", CANARY), ("line", CANARY + "\n"), ("windows", CANARY + "\r\n"),
        ("lines", CANARY + "\n\n"), ("empty", ""), ("newline", "\n"),
    ):  # fmt: skip
        (tmp_path / name).write_text(content, newline="")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "large").write_text("x" * 65_537)
    (tmp_path / "limit").write_text("x" * 65_536)
    return tmp_path


def test_of_the_environment(read: Read) -> None:
    config = read(site("password: {env: PW}"), PW=CANARY + "\n")
    assert value(probe(config).password) == CANARY + "\n"


@pytest.mark.parametrize("name", ["plain", "line", "windows"])
def test_of_a_file_beside_the_configuration(read: Read, folder: Path, name: str) -> None:
    config = read(site(f"password: {{file: {name}}}"), folder)
    assert value(probe(config).password) == CANARY
    assert config.warnings == ()


def test_one_newline_at_the_end_is_none_of_it(read: Read, folder: Path) -> None:
    assert value(probe(read(site("password: {file: lines}"), folder)).password) == CANARY + "\n"


def test_of_a_file_named_by_a_variable(read: Read, folder: Path) -> None:
    config = read(site('password: {file: "${DIR}/plain"}'), DIR=str(folder))
    assert value(probe(config).password) == CANARY


def test_of_a_credential(read: Read, folder: Path) -> None:
    config = read(site("password: {credential: line}"), CREDENTIALS_DIRECTORY=str(folder))
    assert value(probe(config).password) == CANARY


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "the file of the secret is empty"),
        ("newline", "the file of the secret is empty"),
        ("bytes", "the file of the secret is not UTF-8 text"),
        ("large", "the file of the secret is larger than 64 KiB"),
        (".", "the file of the secret is a directory"),
        ("none", "the file of the secret cannot be read: No such file or directory"),
    ],
)
def test_of_a_file_that_holds_none(read: Read, folder: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(site(f"password: {{file: {name}}}"), folder)
    assert [problem.message for problem in caught.value.problems] == [message]


def test_of_the_largest_file(read: Read, folder: Path) -> None:
    assert len(value(probe(read(site("password: {file: limit}"), folder)).password)) == 65_536


def test_a_file_that_everybody_may_read_is_warned_of(read: Read, folder: Path) -> None:
    (folder / "line").chmod(0o644)
    config = read(site("password: {file: line}\n    keys: [{file: line}]"), folder)
    assert config.warnings == (
        f"{folder}/line holds a secret and can be read by everybody; chmod o-r it",
    )


def test_relative_paths_count_from_the_configuration(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "probed.yaml").write_text(site("password: {file: line}\n    file: data/x"))
    monkeypatch.chdir(folder.parent)
    config = load(Path(folder.name) / "probed.yaml", registry, {})
    assert probe(config).file == folder / "data/x"
    assert value(probe(config).password) == CANARY


def test_text_with_a_variable_in_it_may_be_a_secret(read: Read) -> None:
    config = read(site('headers: {Authorization: "Bearer ${T}"}\n    keys: ["${T}-1"]'), T=CANARY)
    assert value(probe(config).headers["Authorization"]) == f"Bearer {CANARY}"
    assert value(probe(config).keys[0]) == f"{CANARY}-1"


def test_a_dollar_sign_makes_no_secret_of_a_literal(read: Read) -> None:
    with pytest.raises(ConfigError, match="a secret may not stand in the file"):
        read(site("password: a$$b"))


def test_a_numeral_of_the_environment_stays_text(read: Read) -> None:
    assert value(probe(read(site("keys:\n      - ${T}"), T="0012")).keys[0]) == "0012"


def test_headers_may_be_plain_text(read: Read) -> None:
    config = read(site("headers: {Accept: application/json, X-Api-Key: 'canary-key'}"))
    assert value(probe(config).headers["Accept"]) == "application/json"
    assert config.redactor.redact("application/json canary-key") == f"application/json {MASK}"


@pytest.mark.parametrize(
    "rest",
    [
        "password: {env: PW}",
        "password: {file: line}",
        "keys: [{env: PW}]",
        "keys: ['${PW}']",
        "headers: {A: {env: PW}}",
        "headers: {A: '${PW}'}",
        "headers: {A: 'Bearer ${PW}'}",
        "headers: {A: {env: HEADER}}",
        f"headers: {{Authorization: Bearer {CANARY}}}",
        "steps: [{do: login, password: {env: PW}}]",
        "body: '${MY_TOKEN}'\n    method: HEAD",
        "headers: {A: '${MY_KEY:-" + CANARY + "}'}",
    ],
)
def test_the_redactor_knows_them_all(read: Read, folder: Path, rest: str) -> None:
    config = read(site(rest), folder, PW=CANARY, MY_TOKEN=CANARY, HEADER=f"Basic {CANARY}")
    assert CANARY not in config.redactor.redact(f"x {CANARY} y")
    assert CANARY not in repr(config)
    assert CANARY not in show(config)


# Each puts the canary where somebody might put a secret; each spoils a file in a different way.
PLACES = [
    "password: {env: PW}", "password: canary-3f9c1b", "password: '${PW}'", "pasword: canary-3f9c1b",
    "password:\n      - canary-3f9c1b", "password: {env: canary-3f9c1b}", "password: |\n      canary-3f9c1b",
    "password: {evn: canary-3f9c1b}", "password: {env: canary_3f9c1b}",
    "headers: {Authorization: Bearer canary-3f9c1b}", "headers: {X: canary-3f9c1b}", "keys: [canary-3f9c1b]",
    "headers:\n      X-Secret-Thing:\n        canary-3f9c1b", "headers: {X: {env: PW}, Y: 5}",
    "api_key: canary-3f9c1b", "body: '${PW}'", "mode: ${PW}", "ratio: ${PW}", "name: ${PW}!",
    "from: '${PW}'\n    body: x", "steps: [{do: login, password: canary-3f9c1b}]",
    "url: https://me:canary-3f9c1b@h/", "url: 'https://h/?x=canary-3f9c1b é'", "url: '${PW}'",
    "password: &x canary-3f9c1b\n    body: *x", "token: {a: {b: [canary-3f9c1b]}}",
    "labels: {token: canary-3f9c1b, a-b: c}",
    'password: "canary-3f9c1b\n      canary-3f9c1b"', "password: >-\n      a\n      canary-3f9c1b",
]  # fmt: skip
SPOILS = ["", "\n    timout: 1", "\n    confirm: 9", "\n   x: y", "\n    a: [", '\n    b: "x',
          "\n    c: @", "\n    d: e: f", "\n\tf: g", "\n    expect: *nowhere", "\n---\na: b",
          "\n    body: !!bad x"]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS, ids=range(len(SPOILS)))
@pytest.mark.parametrize("place", PLACES, ids=range(len(PLACES)))
def test_no_error_shows_them(read: Read, place: str, spoil: str) -> None:
    text = site(place + spoil)
    if place.startswith(("name", "url")):
        key = place.partition(":")[0]
        was = {"name": "name: a\n", "url": "url: https://h/\n"}[key]
        text = text.replace(place, "body: x", 1).replace(was, place + "\n")
    try:
        config = read(text, PW=CANARY)
    except ConfigError as error:
        said = str(error) + repr(error) + repr(error.problems)
    else:
        said = show(config) + repr(config)
    assert CANARY not in said
    assert "canary_3f9c1b" not in said


def test_show_masks_what_looks_like_a_secret(read: Read) -> None:
    text = show(
        read(site("url: 'https://h/p?key=canary-3f9c1b&flag'").replace("url: https://h/\n    ", ""))
    )
    assert "url: https://h/p?key=REDACTED&flag" in text
    text = show(read(site(f"labels: {{my_token: {CANARY}}}")))
    assert f"my_token: '{MASK}'" in text


@pytest.mark.parametrize("secret", ["x9z", "canary-3f9c1b"])
def test_a_probes_own_words_do_not_repeat_a_value(secret: str) -> None:
    def refuse(value: SecretStr) -> SecretStr:
        raise ValueError(f"the word {value.get_secret_value()} is too weak")

    class Weak(Probe):
        kind = "weak"
        word: Annotated[SecretStr, AfterValidator(refuse)]

        async def probe(self, run: Run) -> None:
            """Ask nothing."""

    with pytest.raises(ConfigError) as caught:
        loads(
            "checks: [{name: a, probe: weak, word: {env: PW}}]",
            Registry({"weak": Weak}),
            environ={"PW": secret},
        )
    assert [problem.message for problem in caught.value.problems] == ["the word … is too weak"]


class Mailing(Probe):
    """Greet somebody."""

    kind = "mailing"
    to: Private
    """Whom."""
    user: Private | None = None
    """As whom."""

    async def probe(self, run: Run) -> None:
        """Ask nothing."""


MAILING = "checks:\n  - name: a\n    probe: mailing\n    to: {to}\n    user: {user}\n"


def mailing(to: str = f"{CANARY}@example.com", user: str = CANARY) -> Config:
    return loads(MAILING.format(to=to, user=user), registry=Registry({"mailing": Mailing}))


def test_what_is_private_may_stand_in_the_file_and_is_shown_nowhere() -> None:
    config = mailing()
    assert probe(config).to.text == f"{CANARY}@example.com"
    assert f"to: {MASK}@example.com" in show(config).replace("'", "").replace('"', "")
    for text in (show(config), repr(probe(config)), str(probe(config).user)):
        assert CANARY not in text
    assert config.redactor.clean(f"550 {CANARY}@example.com of {CANARY}") == f"550 {MASK} of {MASK}"


def test_that_something_private_has_changed_is_told_without_it() -> None:
    told = "\n".join(lines(compare(mailing(), mailing(f"other-{CANARY}@example.com", "other"))))
    assert "to" in told
    assert "user" in told
    assert CANARY not in told


@pytest.mark.parametrize("to", ['"a\\nb@c"', '""', "x" * 257, f"[{CANARY}]", f"{CANARY}\t@c"])
def test_an_error_does_not_repeat_what_is_private(to: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mailing(to=f"{to}\n    wrong: 1", user=CANARY)
    assert CANARY not in str(caught.value)
