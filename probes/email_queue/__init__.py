"""The email_queue kind: how much mail waits, how long already, and why."""

from probes.email_queue.probe import EmailQueueProbe

__all__ = ["EmailQueueProbe"]
