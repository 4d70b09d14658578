"""What a domain publishes for its mail, judged by what receivers come to."""

from probes.email_auth.probe import EmailAuthProbe

__all__ = ["EmailAuthProbe"]
