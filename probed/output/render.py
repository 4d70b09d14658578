"""A report in the format of a name."""

from __future__ import annotations

import json

from probed.documents import result_document
from probed.model import Result
from probed.output.report import Report, render_json
from probed.output.text import Style, render_result, render_summary

FORMATS = ("text", "json", "jsonl", "junit", "nagios", "github")


def render(name: str, report: Report, style: Style) -> str:
    """Return the whole report, without a final newline. The style applies to `text`."""
    if name == "jsonl":
        return "\n".join(map(json_line, report.results))
    if name == "text":
        lines = [render_result(result, style) for result in report.results]
        return "\n".join([*lines, render_summary(report.results, report.duration_s, style)])
    if name == "json":
        return render_json(report)
    # What a pipeline asks for is imported only then; XML above all is slow.
    if name == "junit":
        from probed.output.junit import render_junit  # noqa: PLC0415

        return render_junit(report)
    if name == "nagios":
        from probed.output.nagios import render_nagios  # noqa: PLC0415

        return render_nagios(report)
    if name == "github":
        from probed.output.github import render_github  # noqa: PLC0415

        return render_github(report)
    raise ValueError(name)


def json_line(result: Result) -> str:
    return json.dumps(result_document(result), allow_nan=False)
