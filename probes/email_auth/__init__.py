"""The DNS records that a domain publishes for its mail, judged as receivers do."""

from probes.email_auth.probe import EmailAuthProbe

__all__ = ["EmailAuthProbe"]
