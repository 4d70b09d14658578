"""Errors say what to write where people are known to write something else."""

import pytest

from probed.config import ConfigError, loads
from probed.registry import Registry

AUTH = "checks:\n  - name: a\n    probe: email_auth\n    domain: example.com\n    "


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loads(text, Registry(), environ={})
    return str(caught.value)


def test_the_port_of_a_resolver_is_part_of_its_address() -> None:
    said = problems(AUTH + "resolvers: [{name: r, address: 127.0.0.1, port: 25353}]\n")
    assert 'port: unknown key; write the port in `address`, such as "192.0.2.53:5353"' in said
    assert "port: 25353" in said, "a port is no secret"


def test_a_bare_text_is_meant_for_the_key_that_is_required() -> None:
    said = problems(AUTH + "dkim: {selectors: [s1]}\n")
    assert "dkim.selectors[0]: must be a mapping; write {selector: …}" in said


@pytest.mark.parametrize(
    ("kind", "meant"),
    [("http", "gateway"), ("HTTPS", "gateway"), ("ssl", "tls"), ("mongodb", "mongo"),
     ("spf", "email_auth"), ("gatewy", "gateway")],
)  # fmt: skip
def test_a_usual_name_of_a_kind_names_ours(kind: str, meant: str) -> None:
    said = problems(f"checks: [{{name: a, probe: {kind}}}]\n")
    assert f"probe: unknown probe kind; did you mean `{meant}`?" in said


@pytest.mark.parametrize("value", ["hunter2", "1234567890", "'12'", "[1]"])
def test_the_value_of_an_unknown_key_is_hidden_where_it_may_be_a_secret(value: str) -> None:
    said = problems(f"checks: [{{name: a, probe: tcp, address: 'h:1', qqqqq: {value}}}]\n")
    assert value not in said
