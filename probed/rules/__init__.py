"""Rules for Prometheus: what is recorded, and what people are told about. Source: docs/alerting.md."""

from probed.rules.generate import for_config, generic

__all__ = ["for_config", "generic"]
