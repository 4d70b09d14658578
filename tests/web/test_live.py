"""What an open page is told, and how much at once."""

from __future__ import annotations

from probed.web.page.live import SAID, WORD, Client, Hub


def hub(*clients: Client) -> Hub:
    made = Hub()
    made.clients.update(clients)
    return made


def test_a_word_is_bounded_and_begins_with_what_is_not_up() -> None:
    client = Client()
    many = hub(client)
    for number in range(3 * WORD):
        many.ran(f"c{number}", stirs=number >= 3 * WORD - 2)
    first = client.take()
    assert first[:3] == [f"c{3 * WORD - 2}", f"c{3 * WORD - 1}", "c0"]
    assert len(first) == WORD
    heard = [*first, *client.take(), *client.take()]
    assert len(heard) == len(set(heard)) == 3 * WORD
    assert client.take() == []


def test_a_check_that_ran_twice_is_told_once() -> None:
    client = Client()
    many = hub(client)
    for stirs in (False, False, True):
        many.ran("a", stirs=stirs)
    assert client.take() == ["a"]
    assert client.take() == []


def test_a_page_of_one_check_hears_of_no_other() -> None:
    one, everything = Client("a"), Client()
    many = hub(one, everything)
    many.ran("b", stirs=True, sentence="b is down")
    assert (one.take(), one.stirred, list(one.said)) == ([], False, [])
    assert (everything.take(), everything.stirred, list(everything.said)) == (
        ["b"], True, ["b is down"],
    )  # fmt: skip


def test_sentences_are_the_last_few() -> None:
    client = Client()
    many = hub(client)
    for number in range(SAID + 3):
        many.ran("a", stirs=True, sentence=f"{number}")
    assert list(client.said) == [f"{number}" for number in range(3, SAID + 3)]
