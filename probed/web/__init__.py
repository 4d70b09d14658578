"""Two listeners: telemetry (`/metrics`, `/livez`, `/readyz`), and the status page with the JSON API."""

from probed.web.access import Access
from probed.web.api import api_app
from probed.web.daemon import Daemon
from probed.web.pace import Pacer
from probed.web.page import Hub, Page
from probed.web.server import Listener, bind
from probed.web.telemetry import telemetry_app

__all__ = [
    "Access", "Daemon", "Hub", "Listener", "Pacer", "Page", "api_app", "bind", "telemetry_app",
]  # fmt: skip
