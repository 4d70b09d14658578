"""The unix control socket: one JSON line asks, one JSON line answers. The client needs no package."""
