"""Certificates of a throw-away authority."""

from __future__ import annotations

import ssl
from pathlib import Path

from probed.demo.peer import HOST, DemoUnavailable
from probed.testing.certificates import Authority


def certificates(authority: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return server contexts with a valid and an expired certificate, and write the certificate of
    their authority to a file. Blocks.
    """
    try:
        issuer = Authority()
    except ImportError:
        raise DemoUnavailable(
            "the demo needs trustme: install probed-daemon with its extra, probed-daemon[demo]"
        ) from None
    authority.write_bytes(issuer.pem)
    names = (HOST, "localhost", "demo.test")
    return issuer.issue(*names).context, issuer.issue(*names, expired=True).context
