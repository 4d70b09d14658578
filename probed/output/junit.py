"""JUnit XML, as CI servers read it: `failure` for failed, `error` for unknown."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from probed.documents import timestamp
from probed.model import Outcome, Result
from probed.output.document import counts
from probed.output.report import Report

# Characters that may not stand in XML 1.0 at all, not even escaped (section 2.2).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: Report) -> str:
    """Return one suite: a test case for each check, its kind as the class. `degraded` passes, and says why
    in `system-out`.
    """
    found = counts(report.results)
    suite = ET.Element(
        "testsuite",
        name="probed",
        tests=str(len(report.results)),
        failures=str(found["failed"]),
        errors=str(found["unknown"]),
        skipped="0",
        time=f"{report.duration_s:.6f}",
        timestamp=timestamp(report.started_at),
    )
    for result in report.results:
        suite.append(_case(result))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + ET.tostring(suites, encoding="unicode")


def _case(result: Result) -> ET.Element:
    case = ET.Element(
        "testcase",
        name=_legal(result.check),
        classname=f"probed.{result.probe}",
        time=f"{result.duration_s:.6f}",
    )
    properties = ET.SubElement(case, "properties")
    described = {
        "target": result.target,
        "outcome": result.outcome.value,
        "severity": result.severity.value,
        "attempts": str(result.attempts),
        "trace_id": result.trace_id,
        **{f"label.{name}": value for name, value in result.labels.items()},
    }
    for name, value in described.items():
        ET.SubElement(properties, "property", name=_legal(name), value=_legal(value))
    text = "\n".join(f"{f.level.value} {f.reason}: {f.message}" for f in result.findings)
    worst = result.worst
    tag = {Outcome.FAILED: "failure", Outcome.UNKNOWN: "error"}.get(result.outcome)
    if tag is not None and worst is not None:
        kind = str(worst.reason)
        ET.SubElement(case, tag, type=kind, message=_legal(result.why)).text = _legal(text)
    elif text:
        ET.SubElement(case, "system-out").text = _legal(text)
    return case


def _legal(text: str) -> str:
    return _ILLEGAL.sub("�", text)
