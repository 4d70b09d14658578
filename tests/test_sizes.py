"""No module is longer than a reader can hold in mind, and no function longer than a screen."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MODULE, FUNCTION = 400, 60
ROOMS = ("probed", "probes", "benchmarks", "config")


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_and_no_function_is_too_long(room: str, project: Path) -> None:
    long = []
    for path in sorted((project / room).rglob("*.py")):
        text = path.read_text()
        if (lines := len(text.splitlines())) > MODULE:
            long.append(f"{path.relative_to(project)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > FUNCTION:
                    long.append(f"{path.relative_to(project)}::{node.name}: {size} lines")
    assert not long
