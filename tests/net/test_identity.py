"""Our own certificate: what is wrong with it is said by setting, before anybody is asked."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import ValidationError

from probed import ProbeError, Tls
from probed.config import ConfigError, loads
from probed.config.show import show
from probed.net import Network, TlsOptions, check_identity
from probed.net import identity as identities
from probed.registry import Registry
from probed.testing import Authority
from probed.text.redact import SecretStr
from probes.gateway import GatewayProbe

PASSWORD = "correct-horse-7"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identity")
    authority = Authority()
    ours, other = authority.issue("client.test"), authority.issue("other.test")
    (folder / "cert.pem").write_bytes(ours.chain)
    (folder / "key.pem").write_bytes(ours.key)
    (folder / "both.pem").write_bytes(ours.key + ours.chain)
    (folder / "other.pem").write_bytes(other.key)
    private = load_pem_private_key(ours.key, None)
    for name, form in (
        ("sealed.pem", PrivateFormat.PKCS8),
        ("old.pem", PrivateFormat.TraditionalOpenSSL),
    ):
        sealed = private.private_bytes(
            Encoding.PEM, form, BestAvailableEncryption(PASSWORD.encode())
        )
        (folder / name).write_bytes(sealed)
    (folder / "junk").write_text("no PEM")
    (folder / "broken.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    (folder / "hollow.pem").write_text(
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    )
    (folder / "large").write_bytes(b"x" * ((1 << 20) + 1))
    os.mkfifo(folder / "pipe")
    return folder


def read(folder: Path, tls: str, **environ: str) -> GatewayProbe:
    text = f"checks:\n  - name: gw\n    probe: gateway\n    url: https://h/\n    tls: {tls}\n"
    config = loads(
        text, Registry({"gateway": GatewayProbe}), environ=environ, base=folder, name="probed.yaml"
    )
    probe = config.checks[0].probe
    assert isinstance(probe, GatewayProbe)
    assert PASSWORD not in show(config)
    return probe


def complaints(folder: Path, tls: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(folder, tls, **environ)
    assert PASSWORD not in str(raised.value)
    return [line for line in str(raised.value).splitlines() if line.startswith("probed.yaml:")]


@pytest.mark.parametrize(
    "tls",
    [
        "{certificate: cert.pem, key: key.pem}",
        "{certificate: both.pem}",
        "{certificate: cert.pem, key: {file: key.pem}}",
        "{certificate: cert.pem, key: {env: KEY}}",
        "{certificate: cert.pem, key: sealed.pem, password: {env: PW}}",
        "{certificate: cert.pem, key: old.pem, password: {env: PW}}",
        "{certificate: cert.pem, key: '${WHERE}'}",
    ],
)
def test_a_certificate_with_its_key_is_taken(folder: Path, tls: str) -> None:
    key = (folder / "key.pem").read_text()
    probe = read(folder, tls, KEY=key, PW=PASSWORD, WHERE="key.pem")
    Network().contexts.get(probe.tls.options)
    shown = repr(probe) + repr(probe.tls.options)
    assert PASSWORD not in shown
    assert key.splitlines()[1] not in shown


@pytest.mark.parametrize(
    ("tls", "setting", "message"),
    [
        ("{certificate: none.pem}", "certificate", "cannot read the file: No such file"),
        ("{certificate: .}", "certificate", "cannot read the file: Is a directory"),
        ("{certificate: pipe}", "certificate", "not a regular file"),
        ("{certificate: large}", "certificate", "larger than 1 MiB"),
        ("{certificate: junk}", "certificate", "contains no PEM certificate"),
        ("{certificate: broken.pem, key: key.pem}", "certificate", "contains no PEM certificate"),
        ("{certificate: cert.pem, key: none.pem}", "key", "cannot read the file: No such file"),
        ("{certificate: cert.pem, key: junk}", "key", "not a PEM private key"),
        ("{certificate: cert.pem, key: hollow.pem}", "key", "not a PEM private key"),
        ("{certificate: cert.pem, key: other.pem}", "key", "not the key of this certificate"),
        ("{certificate: cert.pem, key: {env: PW}}", "key", "not a PEM private key"),
        ("{certificate: cert.pem}", "", "write the `key` of the certificate"),
        ("{certificate: cert.pem, key: sealed.pem}", "", "write its `password`"),
        ("{certificate: cert.pem, key: old.pem}", "", "write its `password`"),
        (
            "{certificate: cert.pem, key: sealed.pem, password: {env: WRONG}}",
            "password",
            "wrong password for the key",
        ),
        (
            "{certificate: cert.pem, key: sealed.pem, password: {env: LONG}}",
            "password",
            "longer than 1024 bytes",
        ),
        ("{key: key.pem}", "", "write the `certificate`"),
        ("{password: {env: PW}}", "", "write the `certificate`"),
    ],
)
def test_what_cannot_be_used_is_one_error_that_names_the_setting(
    folder: Path, tls: str, setting: str, message: str
) -> None:
    (line,) = complaints(folder, tls, PW=PASSWORD, WRONG="not it", LONG="x" * 1025)
    where = "checks[0].tls" + (f".{setting}" if setting else "")
    assert f" {where}: " in line
    assert message in line


def test_a_key_that_was_pasted_is_refused_and_not_repeated(folder: Path) -> None:
    lines = (folder / "key.pem").read_text().splitlines()
    (line,) = complaints(folder, "{certificate: cert.pem, key: '" + "\\n".join(lines) + "'}")
    assert "a secret may not stand in the file" in line
    assert lines[1] not in line


def test_a_template_may_hold_the_certificate_and_the_check_its_key(folder: Path) -> None:
    text = """
        templates: {ours: {probe: gateway, tls: {certificate: cert.pem}}}
        checks: [{name: a, use: ours, url: 'https://h/', tls: {key: key.pem}}]
    """
    loads(text, Registry({"gateway": GatewayProbe}), environ={}, base=folder)


def test_a_wrong_pair_is_refused_without_a_configuration_too(folder: Path) -> None:
    with pytest.raises(ValidationError, match="not the key of this certificate"):
        Tls(certificate=folder / "cert.pem", key=folder / "other.pem")


def test_files_are_read_once_until_they_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads_: list[str] = []
    load = identities.load_identity

    def counted(context: ssl.SSLContext, certificate: str, key: object, password: object) -> None:
        loads_.append(certificate)
        load(context, certificate, key, password)  # type: ignore[arg-type]

    monkeypatch.setattr(identities, "load_identity", counted)
    path = tmp_path / "both.pem"
    path.write_bytes((folder / "both.pem").read_bytes())
    for _ in range(3):
        check_identity(str(path), None, None)
    assert len(loads_) == 1
    path.write_bytes((folder / "cert.pem").read_bytes())
    with pytest.raises(identities.IdentityError):
        check_identity(str(path), None, None)
    assert len(loads_) == 2


def test_a_context_is_made_anew_for_other_files_and_says_what_is_wrong_with_them(
    folder: Path, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.write_bytes((folder / "cert.pem").read_bytes())
    key.write_bytes((folder / "key.pem").read_bytes())
    contexts = Network().contexts
    options = TlsOptions(verify=False, certificate=str(certificate), key=str(key))
    first = contexts.get(options)
    assert contexts.get(options) is first
    key.write_bytes((folder / "other.pem").read_bytes())
    with pytest.raises(ProbeError, match=r"key: not the key of this certificate\."):
        contexts.get(options)
    key.write_bytes((folder / "key.pem").read_bytes())
    assert contexts.get(options) is not first


def test_a_key_in_memory_leaves_nothing_open(folder: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    options = TlsOptions(
        verify=False,
        certificate=str(folder / "cert.pem"),
        key=SecretStr((folder / "key.pem").read_text()),
    )
    Network().contexts.get(options)
    assert set(Path("/proc/self/fd").iterdir()) == before
