"""A report in the format of a name."""

from __future__ import annotations

import json

from probed.model import Result
from probed.output.document import result_document
from probed.output.github import render_github
from probed.output.nagios import render_nagios
from probed.output.report import Report, render_json
from probed.output.text import Style, render_result, render_summary

FORMATS = ("text", "json", "jsonl", "junit", "nagios", "github")
_WHOLE = {"json": render_json, "nagios": render_nagios, "github": render_github}


def render(name: str, report: Report, style: Style) -> str:
    """The whole report, without a newline at its end. The style is that of `text`."""
    if name == "jsonl":
        return "\n".join(map(json_line, report.results))
    if name == "text":
        lines = [render_result(result, style) for result in report.results]
        return "\n".join([*lines, render_summary(report.results, report.duration_s, style)])
    if name == "junit":
        from probed.output.junit import render_junit  # noqa: PLC0415  # XML is slow to import

        return render_junit(report)
    return _WHOLE[name](report)


def json_line(result: Result) -> str:
    return json.dumps(result_document(result), allow_nan=False)
