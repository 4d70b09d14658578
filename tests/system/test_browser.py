"""The status page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.test_page import HOSTILE, config, down, web_peer

pytestmark = [pytest.mark.debian("chromium"), pytest.mark.timeout(90)]
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
LABELLED = """\
  - name: labelled
    probe: tcp
    address: 127.0.0.1:{port}
    expect: "^220 "
    labels: {{team: "<script>document.title='owned'</script>"}}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def peer() -> Iterator[tuple[int, dict[str, Any]]]:
    with web_peer() as found:
        yield found


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page on which nothing may go wrong."""
    context = browser.new_context()
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    opened.add_init_script(
        "document.addEventListener('securitypolicyviolation', e => console.log('policy ' + e.blockedURI))"
    )
    yield opened
    context.close()
    assert wrong == []


def test_it_is_live_and_filters_and_reads_aloud(start: Any, peer: Any, page: Any) -> None:
    port, says = peer
    daemon = start(config(port))
    down(daemon, "web", "up")
    page.goto(daemon.api)
    page.get_by_text("live", exact=True).wait_for()
    row = page.locator("#check-web")
    assert row.locator(".v").inner_text() == "up"
    says["status"] = 500
    row.locator(".v.down").wait_for(timeout=15_000)
    page.locator("#troubles article", has_text="web").wait_for()
    page.wait_for_function("document.getElementById('said').textContent.includes('web is down')")
    says["status"] = 200
    row.locator(".v.up").wait_for(timeout=15_000)
    page.get_by_label("State").select_option("down")
    page.get_by_role("button", name="Filter").click()
    page.locator("#check-gone").wait_for()
    assert page.locator("tbody tr").count() == 1
    snapshot = page.locator("main").aria_snapshot()
    assert 'columnheader "Verdict"' in snapshot
    assert 'link "gone"' in snapshot
    assert "gone, last" in snapshot, "the sparkline says what it shows"
    page.get_by_role("link", name="gone").first.click()
    page.get_by_role("heading", name="Last run").wait_for()
    assert "connect.refused" in page.locator("main").inner_text()


def test_what_a_peer_or_a_file_says_is_text(start: Any, peer: Any, page: Any) -> None:
    port, says = peer
    says |= {"status": 503, "body": HOSTILE.encode()}
    daemon = start(config(port, LABELLED.format(port=port)))
    down(daemon, "web")
    page.goto(daemon.api + "/checks/web")
    page.get_by_text("live", exact=True).wait_for()
    assert '<img src=x onerror="alert(1)">' in page.locator("main").inner_text()
    assert page.locator("main img").count() == 0
    assert page.locator("main script").count() == 0
    page.goto(daemon.api + "/checks/labelled")
    assert "<script>document.title='owned'</script>" in page.locator("main").inner_text()
    assert page.title() == "labelled · probed"
    page.goto(daemon.api + "/?q=" + "%3Cscript%3Ealert(3)%3C/script%3E")
    assert page.get_by_label("Name or target").input_value() == "<script>alert(3)</script>"


def test_a_script_that_got_in_would_not_run(start: Any, peer: Any, browser: Any) -> None:
    daemon = start(config(peer[0]))
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(daemon.api)
        page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.owned = 1';"
            " document.body.append(s); }"
        )
        assert page.evaluate("() => window.owned") is None
    finally:
        context.close()


def test_it_can_be_read_without_scripts(start: Any, peer: Any, browser: Any) -> None:
    daemon = start(config(peer[0]))
    down(daemon, "gone")
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(daemon.api)
        assert (
            "Connection refused: nothing is listening on" in page.locator("#troubles").inner_text()
        )
        page.get_by_label("Name or target").fill("gone")
        page.get_by_role("button", name="Filter").click()
        assert page.locator("tbody tr").count() == 1
        page.get_by_role("link", name="gone").first.click()
        assert "connect.refused" in page.locator("main").inner_text()
    finally:
        context.close()


def test_a_check_is_run_by_who_may(start: Any, peer: Any, browser: Any, tmp_path: Any) -> None:
    (tmp_path / "admin").write_text("right-password")
    (tmp_path / "admin").chmod(0o600)
    port, says = peer
    text = config(port, service=f", access: {{admin: {{file: {tmp_path}/admin}}}}")
    daemon = start(text.replace("interval: 500ms", "interval: 1h"))
    context = browser.new_context(http_credentials={"username": "me", "password": "right-password"})
    try:
        page = context.new_page()
        says["status"] = 500
        page.goto(daemon.api + "/checks/web")
        page.get_by_role("button", name="Run now").click()
        page.locator(".finding.failed").first.wait_for()
        assert page.url == daemon.api + "/checks/web"
    finally:
        context.close()


def test_a_page_shows_the_checks_of_a_new_configuration(
    start: Any, peer: Any, page: Any, probed: Any
) -> None:
    text = config(peer[0])
    daemon = start(text)
    down(daemon, "web", "up")
    page.goto(daemon.api)
    page.get_by_text("live", exact=True).wait_for()
    daemon.config.write_text(
        text + f"  - {{name: new, probe: tcp, address: '127.0.0.1:{peer[0]}'}}\n"
    )
    assert probed("reload", "--socket", str(daemon.control)).returncode == 0
    page.locator("#check-new").wait_for(timeout=15_000)
