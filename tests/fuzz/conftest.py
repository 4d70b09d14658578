"""Everything that reads what others have written gets what nobody would write.

In the suite a few examples, always the same; `make fuzz MINUTES=5` takes new ones until time is up.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "suite", max_examples=50, derandomize=True, database=None, deadline=None,
    suppress_health_check=_QUIET,
)  # fmt: skip
settings.register_profile(
    "fuzz", max_examples=1000, database=None, deadline=None, print_blob=True,
    suppress_health_check=_QUIET,
)  # fmt: skip
