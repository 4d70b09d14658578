"""SASL: each credential answers the prompt that asks for it, and no other."""

from __future__ import annotations

import base64

import pytest

from probed.mail.sasl import Client, PromptError, client_of

USER, SECRET = "canary-user-91ab", "canary-secret-91ab"


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


def client(mechanism: str) -> Client:
    return client_of(mechanism, USER, SECRET)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Username:", "Password:"), ("User Name\0", "Password\0"), ("USERNAME", "PASSWORD"),
        ("username: ", "password: "), ("User Name", "Password"),
    ],
)  # fmt: skip
def test_login_answers_each_prompt_by_what_it_asks_for(name: str, word: str) -> None:
    login = client("login")
    assert login.initial is None
    assert login.answer(b64(name)) == b64(USER)
    assert not login.complete
    assert login.answer(b64(word)) == b64(SECRET)
    assert login.complete


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (["Username:", "Username:"], "asked for the user name where the password was due"),
        (["Password:"], "asked for the password where the user name was due"),
        (["Username:", "Password:", "Password:"], "where nothing was due"),
        (["Username:", "Password:", "Username:"], "where nothing was due"),
        (["Username:", "PIN:"], "unknown login prompt"),
        ([""], "unknown login prompt"),
        (["Username: and Password:"], "unknown login prompt"),
        (["P\xe4ssword:"], "unknown login prompt"),
        (["x" * 600], "too long"),
    ],
)
def test_login_answers_no_other_prompt(prompts: list[str], words: str) -> None:
    login = client("login")
    for prompt in prompts[:-1]:
        login.answer(b64(prompt))
    with pytest.raises(PromptError, match=words) as caught:
        login.answer(b64(prompts[-1]))
    assert "91ab" not in str(caught.value)


@pytest.mark.parametrize("mechanism", ["login", "cram-md5"])
@pytest.mark.parametrize("prompt", [b"Username:", b"VXNlcm5hbWU6!", b"V", b"x" * 5000])
def test_a_prompt_must_be_base64_and_short(mechanism: str, prompt: bytes) -> None:
    with pytest.raises(PromptError):
        client(mechanism).answer(prompt)


@pytest.mark.parametrize("mechanism", ["plain", "xoauth2"])
@pytest.mark.parametrize("early", [False, True])
def test_an_empty_prompt_is_answered_once(mechanism: str, early: bool) -> None:
    """Also by a server that has ignored the initial response."""
    one = client(mechanism)
    message = one.initial
    assert message is not None
    assert b"91ab" in base64.b64decode(message)
    if early:
        assert one.begin() == message
    assert one.answer(b"") == message
    assert one.complete
    with pytest.raises(PromptError):
        one.answer(b"")


@pytest.mark.parametrize("prompt", [b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6", b"=", b"go ahead"])
def test_plain_answers_no_prompt_with_text(prompt: bytes) -> None:
    one = client("plain")
    with pytest.raises(PromptError):
        one.answer(prompt)
    one.begin()
    with pytest.raises(PromptError):
        one.answer(prompt)


def test_xoauth2_answers_an_error_with_an_empty_line_once() -> None:
    one = client("xoauth2")
    with pytest.raises(PromptError):
        one.answer(b64('{"status": "401"}'))
    one.begin()
    assert one.answer(b64('{"status": "401"}')) == b""
    for prompt in (b"", b64('{"status": "401"}')):
        with pytest.raises(PromptError):
            one.answer(prompt)


def test_cram_md5_is_that_of_the_rfc() -> None:
    one = client_of("cram-md5", "tim", "tanstaaftanstaaf")
    answer = one.answer(b64("<1896.697170952@postoffice.reston.mci.net>"))
    assert base64.b64decode(answer) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    with pytest.raises(PromptError):
        one.answer(b64("<1896.697170952@postoffice.reston.mci.net>"))


@pytest.mark.parametrize(
    "challenge", ["", "Password:", "<1@a> <2@b>", "<1>", "<1@a\n>", "<" + "1" * 600 + "@a>"]
)
def test_a_challenge_that_is_none(challenge: str) -> None:
    with pytest.raises(PromptError):
        client("cram-md5").answer(b64(challenge))
