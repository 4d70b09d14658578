"""Recording and alerting rules for Prometheus, documented in docs/alerting.md."""

from probed.rules.generate import for_config, generic

__all__ = ["for_config", "generic"]
