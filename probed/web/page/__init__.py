"""The status page: readable without a script, live with one."""

from probed.web.page.app import Page
from probed.web.page.live import Hub

__all__ = ["Hub", "Page"]
