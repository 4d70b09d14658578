"""The email_roundtrip kind: a mail is sent, and must arrive."""

from probes.email_roundtrip.probe import EmailRoundtripProbe

__all__ = ["EmailRoundtripProbe"]
