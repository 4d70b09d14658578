"""Certificates of a throw-away authority."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from probed.demo.peer import DemoUnavailable
from probed.demo.wire import HOST


def certificates(authority: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts with a valid and with an expired certificate; the authority's goes to the file."""
    try:
        import trustme  # noqa: PLC0415  # only the demo needs it
    except ImportError:
        raise DemoUnavailable(
            "the demo needs trustme: install probed-daemon with its extra, probed-daemon[demo]"
        ) from None
    issuer = trustme.CA(organization_name="probed demo")
    issuer.cert_pem.write_to_path(str(authority))
    now, day = datetime.now(UTC), timedelta(days=1)
    contexts = []
    for begin, end in ((now - day, now + 90 * day), (now - 90 * day, now - day)):
        leaf = issuer.issue_cert(HOST, "localhost", "demo.test", not_before=begin, not_after=end)
        contexts.append(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        leaf.configure_cert(contexts[-1])
    return contexts[0], contexts[1]
