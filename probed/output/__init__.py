"""Results for people and programs."""

from probed.output.document import SCHEMA, check_document
from probed.output.render import FORMATS, json_line, render
from probed.output.report import Report
from probed.output.text import Style, render_result, render_summary
from probed.text.humanize import seconds

__all__ = [
    "FORMATS", "SCHEMA", "Report", "Style", "check_document", "json_line", "render",
    "render_result", "render_summary", "seconds",
]  # fmt: skip
