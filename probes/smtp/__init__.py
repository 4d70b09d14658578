"""The smtp kind: can mail be handed over from here, by which relay, and if not, why."""

from probes.smtp.probe import SmtpProbe

__all__ = ["SmtpProbe"]
