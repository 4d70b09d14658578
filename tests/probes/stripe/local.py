"""localstripe on loopback, as a program of its own (it is GPL): prints its port, and keeps no file."""

import logging
import socket
import sys

from aiohttp import web
from localstripe.server import app, store

store.dump_to_disk = lambda: None
logging.disable(logging.INFO)
listener = socket.create_server(("127.0.0.1", 0))
sys.stdout.write(f"{listener.getsockname()[1]}\n")
sys.stdout.flush()
web.run_app(app, sock=listener, print=lambda *_: None)
