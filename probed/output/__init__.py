"""Results for people and programs."""

from probed.output.document import SCHEMA, check_document, result_document, timestamp
from probed.output.github import render_github, render_markdown
from probed.output.junit import render_junit
from probed.output.nagios import render_nagios
from probed.output.report import Report, render_json
from probed.output.text import Style, render_result, render_summary, seconds

__all__ = [
    "SCHEMA", "Report", "Style", "check_document", "render_github", "render_json", "render_junit",
    "render_markdown", "render_nagios", "render_result", "render_summary", "result_document",
    "seconds", "timestamp",
]  # fmt: skip
