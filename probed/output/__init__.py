"""Results for people and programs."""

from probed.output.document import SCHEMA, check_document, result_document, timestamp, worst_of
from probed.output.text import Style, render_result, render_summary, seconds

__all__ = [
    "SCHEMA", "Style", "check_document", "render_result", "render_summary", "result_document",
    "seconds",
    "timestamp", "worst_of",
]  # fmt: skip
