"""The unix control socket: one JSON line per request and one per response. The client has no dependencies."""
