"""The status page: rendered here, live by server-sent events, readable without a script."""

from probed.web.page.app import Daemon, Page

__all__ = ["Daemon", "Page"]
