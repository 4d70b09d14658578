"""The composition root: builds all parts, runs them, changes them on a reload, stops them."""

from probed.app.daemon import App

__all__ = ["App"]
