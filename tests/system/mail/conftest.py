"""A real postfix and a real dovecot on loopback, in folders of their own. No mail leaves them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from probed.testing.certificates import Authority

USER, PASSWORD = "canary@probed.test", "right-canary-password"
HOST = "mx.probed.test"
PATIENCE = 30.0

_DOVECOT = """
protocols = imap lmtp
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/run
log_path = {d}/dovecot.log
ssl = required
ssl_cert = <{d}/certificate.pem
ssl_key = <{d}/key.pem
disable_plaintext_auth = yes
auth_mechanisms = plain login
first_valid_uid = 1
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
mail_location = maildir:{d}/mail/%u
passdb {{
  driver = passwd-file
  args = {d}/users
}}
userdb {{
  driver = static
  args = uid=dovecot gid=dovecot home={d}/mail/%u
}}
namespace inbox {{
  inbox = yes
  mailbox Junk {{
    auto = create
    special_use = \\Junk
  }}
  mailbox Elsewhere {{
    auto = create
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service auth {{
  unix_listener {d}/auth {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener {d}/lmtp {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""

_MAIN = """
compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {d}/mail.log
maillog_file_prefixes = {d}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = {host}
mydestination =
alias_maps =
alias_database =
mynetworks = 192.0.2.1/32
virtual_mailbox_domains = probed.test
virtual_mailbox_maps = inline:{{ canary@probed.test=x later@probed.test=x }}
virtual_transport = lmtp:unix:{d}/lmtp
transport_maps = inline:{{ {{later@probed.test = lmtp:unix:{d}/nowhere}} }}
recipient_delimiter = +
default_transport = error:no mail leaves this test
relay_transport = error:no mail leaves this test
local_transport = error:no mail leaves this test
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {d}/auth
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = {d}/certificate.pem
smtpd_tls_key_file = {d}/key.pem
smtpd_client_connection_rate_limit = 0
header_checks = regexp:{d}/headers
postscreen_greet_wait = 3s
postscreen_greet_banner = $myhostname ESMTP waits
postscreen_cache_map =
postscreen_access_list =
"""

_MASTER = """
127.0.0.1:{starttls} inet n - n - - smtpd
127.0.0.1:{implicit} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{greylists} inet n - n - - smtpd -o {{ smtpd_recipient_restrictions = check_recipient_access static:{{450 4.7.1 greylisted}} }}
127.0.0.1:{postscreen} inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_HEADERS = """
/^X-Probed-Token:/ PREPEND Authentication-Results: mx.probed.test; spf=pass smtp.mailfrom=probed.test; dkim=none; dmarc=fail (p=none) header.from=probed.test
/^Subject: forged/ PREPEND Authentication-Results: elsewhere.example; spf=fail
"""


@dataclass(frozen=True)
class Mail:
    """Ports of postfix (`greylists` defers every recipient, `postscreen` waits before it greets) and
    of dovecot's IMAP, and where they are configured.
    """

    folder: Path
    ca: Path
    starttls: int
    implicit: int
    greylists: int
    postscreen: int
    imap: int
    imaps: int

    user: str = USER
    password: str = PASSWORD

    @property
    def config(self) -> Path:
        return self.folder / "postfix"

    def log(self) -> str:
        path = self.folder / "mail.log"
        return path.read_text() if path.exists() else ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: postfix changes its user")


@pytest.fixture(scope="session")
def mail() -> Iterator[Mail]:
    folder = Path(tempfile.mkdtemp(prefix="probed-mail-"))
    folder.chmod(0o755)
    names = ("starttls", "implicit", "greylists", "postscreen", "imap", "imaps")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    authority = Authority()
    authority.issue("127.0.0.1", HOST).files(folder)
    found = Mail(folder, authority.pem_file(folder), **ports)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_dovecot(found))
        stack.enter_context(_postfix(found))
        yield found


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


@contextlib.contextmanager
def _dovecot(mail: Mail) -> Iterator[None]:
    folder = mail.folder
    (folder / "mail").mkdir()
    shutil.chown(folder / "mail", "dovecot", "dovecot")
    (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    config = folder / "dovecot.conf"
    config.write_text(_DOVECOT.format(d=folder, imap=mail.imap, imaps=mail.imaps))
    process = subprocess.Popen(["dovecot", "-F", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        _until(lambda: _answers(mail.imap) and (folder / "auth").exists(), process)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


@contextlib.contextmanager
def _postfix(mail: Mail) -> Iterator[None]:
    folder, config = mail.folder, mail.config
    for name in ("postfix", "queue", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    (folder / "headers").write_text(_HEADERS)
    (config / "main.cf").write_text(_MAIN.format(d=folder, host=HOST))
    ports = {n: getattr(mail, n) for n in ("starttls", "implicit", "greylists", "postscreen")}
    (config / "master.cf").write_text(_MASTER.format(**ports))
    command = ["/usr/sbin/postfix", "-c", str(config)]
    subprocess.run([*command, "check"], check=True, capture_output=True, timeout=60)
    subprocess.run([*command, "start"], check=True, capture_output=True, timeout=60)
    try:
        _until(lambda: _answers(mail.starttls), None)
        yield
    finally:
        subprocess.run([*command, "abort"], check=False, capture_output=True, timeout=60)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            return bool(sock.recv(1))
    except OSError:
        return False


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the mail server does not start"
        assert process is None or process.poll() is None, "the mail server has ended"
        time.sleep(0.05)


@pytest.fixture
def queued(mail: Mail) -> Iterator[int]:
    """Messages that postfix has put off; how many."""
    context = ssl.create_default_context(cafile=str(mail.ca))
    with smtplib.SMTP("127.0.0.1", mail.starttls) as client:
        client.starttls(context=context)
        client.login(USER, PASSWORD)
        for number in range(3):
            client.sendmail(USER, ["later@probed.test"], f"Subject: {number}\n\nlater\n")
    command = ["postqueue", "-c", str(mail.config), "-j"]

    def deferred() -> bool:
        told = subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
        return told.count(b'"deferred"') >= 3

    _until(deferred, None)
    yield 3
    subprocess.run(
        ["postsuper", "-c", str(mail.config), "-d", "ALL"],
        check=True, capture_output=True, timeout=30, env={**os.environ},
    )  # fmt: skip
