"""What an open page is told, and how much at once."""

from __future__ import annotations

from probed.web.page.live import SENTENCES, STREAMS, UPDATE, Client, Hub


def hub(*clients: Client) -> Hub:
    made = Hub()
    made.clients.update(dict.fromkeys(clients))
    return made


def test_a_word_is_bounded_and_begins_with_what_is_not_up() -> None:
    client = Client()
    many = hub(client)
    for number in range(3 * UPDATE):
        many.update(f"c{number}", urgent=number >= 3 * UPDATE - 2)
    first = client.next_names()
    assert first[:3] == [f"c{3 * UPDATE - 2}", f"c{3 * UPDATE - 1}", "c0"]
    assert len(first) == UPDATE
    heard = [*first, *client.next_names(), *client.next_names()]
    assert len(heard) == len(set(heard)) == 3 * UPDATE
    assert client.next_names() == []


def test_a_check_that_ran_twice_is_told_once() -> None:
    client = Client()
    many = hub(client)
    for stirs in (False, False, True):
        many.update("a", urgent=stirs)
    assert client.next_names() == ["a"]
    assert client.next_names() == []


def test_a_page_of_one_check_hears_of_no_other() -> None:
    one, everything = Client("a"), Client()
    many = hub(one, everything)
    many.update("b", urgent=True, sentence="b is down")
    assert (one.next_names(), one.changed, list(one.sentences)) == ([], False, [])
    assert (everything.next_names(), everything.changed, list(everything.sentences)) == (
        ["b"], True, ["b is down"],
    )  # fmt: skip


def test_sentences_are_the_last_few() -> None:
    client = Client()
    many = hub(client)
    for number in range(SENTENCES + 3):
        many.update("a", urgent=True, sentence=f"{number}")
    assert list(client.sentences) == [f"{number}" for number in range(3, SENTENCES + 3)]


def test_for_a_page_too_many_the_oldest_of_the_address_that_has_the_most_is_closed() -> None:
    neighbour = Client(address="10.0.0.1")
    strangers = [Client(address="10.0.0.2") for _ in range(STREAMS - 1)]
    many = hub(neighbour, *strangers)
    many.admit(late := Client(address="10.0.0.3"))
    assert [each.closed for each in (neighbour, late, *strangers[:2])] == [
        False, False, True, False,
    ]  # fmt: skip
    assert len(many.clients) == STREAMS
    for _ in range(2 * STREAMS):
        many.admit(Client(address="10.0.0.2"))
    assert not neighbour.closed
    assert not late.closed
    assert len(many.clients) == STREAMS
