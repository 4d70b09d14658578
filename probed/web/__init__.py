"""Two listeners: telemetry (`/metrics`, `/livez`, `/readyz`) and the local JSON API."""

from probed.web.api import api_app
from probed.web.server import Listener, bind
from probed.web.telemetry import telemetry_app

__all__ = [
    "Listener", "api_app", "bind", "telemetry_app",
]  # fmt: skip
