"""No module of `probed` or `probes` imports itself, by whatever detour."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import grimp


def loaded_by_name(source: str) -> Iterator[str]:
    """Modules that `import_module` loads: the import graph has only import statements."""
    tree = ast.parse(source) if "import_" in source else ast.Module([], [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else None
            called = node.func.id if isinstance(node.func, ast.Name) else called
            passed = [called, *(arg.id for arg in node.args if isinstance(arg, ast.Name))]
            if "import_module" in passed or "__import__" in passed:
                for arg in node.args:
                    if isinstance(arg, ast.Constant) and isinstance(arg.value, str):
                        yield arg.value


def imports() -> Mapping[str, set[str]]:
    """What each module imports: at the top, inside functions, for type checking, and by name."""
    graph = grimp.build_graph(
        "probed", "probes", exclude_type_checking_imports=False, cache_dir=None
    )
    found = {name: set(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    for name, imported in found.items():
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        imported |= {each for each in loaded_by_name(source) if each in graph.modules}
    return found


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return one cycle of the graph, its first node also last; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_imports_go_in_a_circle() -> None:
    found = imports()
    assert len(found) > 200
    # Imported for type checking only, inside a function, and by name in a thread.
    assert "probed.net.answer" in found["probed.net.dial"]
    assert "probed.net.vantage" in found["probed.net.resolve"]
    assert "probed.net.vantage" in found["probes.smtp.authorised"]
    assert cycle(found) == []


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert sorted(set(cycle(graph))) == ["a", "b", "c"]
    assert cycle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert list(loaded_by_name("run_sync(import_module, 'a.b')\nimportlib.import_module('c')")) == [
        "a.b",
        "c",
    ]
