"""Rules of the house: which room may import which, and how long a piece of code may be."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from support.paths import ROOT

FLOORS = """
    runtime data metrics collaborative retrieval baselines backbone tasks fusion
    training.config config model training inference recommender evaluation
    serving.hosting serving.fitted_baselines serving.method_comparison ui serving
    lab cli __main__
""".split()
"""Rooms, and single modules where a room has two floors: each may import what is above it here."""

LOOSE = {"__init__", "__main__", "recommender", "cli", "config"}
"""The only modules beside the rooms."""

ENTRANCES = {("ckf_demo.cli", "tune"), ("ckf_demo.cli", "bench")}
"""Functions whose bodies may import the lab."""

LONGEST_FUNCTION, LONGEST_CLASS, LONGEST_FILE = 150, 500, 700
"""Lines."""

PYTHON = sorted(
    [ROOT / "app.py", *(ROOT / "ckf_demo").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
)


def module_name(path: Path) -> str:
    """``ckf_demo.data.store`` for a path; a package goes by its folder's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PYTHON if path.is_relative_to(ROOT / "ckf_demo")}


@cache
def imports(module: str) -> list[tuple[str, str]]:
    """Modules that a module imports, under TYPE_CHECKING too, each with the importing function."""
    imported = []

    def visit(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            within = function
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                within = function or child.name
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    imported.append((full if full in MODULES else str(child.module), function))
            elif isinstance(child, ast.Import):
                imported.extend((alias.name, function) for alias in child.names)
            visit(child, within)

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")), "")
    return [(name, function) for name, function in imported if name in MODULES and name != module]


def floor(module: str) -> int:
    """The index of a module in `FLOORS`, by the longest entry that names it."""
    name = module.removeprefix("ckf_demo.")
    entries = [entry for entry in FLOORS if f"{name}.".startswith(f"{entry}.")]
    assert entries, f"{module} has no floor: name its room in FLOORS"
    return FLOORS.index(max(entries, key=len))


def test_files_import_each_other_in_no_circle():
    graph = {
        module: {name for name, _ in imports(module) if name != "ckf_demo"} for module in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", [name for name in MODULES if name != "ckf_demo"])
def test_a_module_imports_only_what_stands_above_it(module):
    below = [
        name
        for name, function in imports(module)
        if name != "ckf_demo"
        and floor(name) > floor(module)
        and (module, function) not in ENTRANCES
    ]
    assert not below


def in_lab(module: str) -> bool:
    return f"{module}.".startswith("ckf_demo.lab.")


def test_nothing_but_two_commands_imports_the_lab():
    outside = {
        (module, function)
        for module in MODULES
        for name, function in imports(module)
        if in_lab(name) and not in_lab(module)
    }
    assert outside == ENTRANCES


def test_only_a_few_modules_stand_beside_the_rooms():
    assert {path.stem for path in (ROOT / "ckf_demo").glob("*.py")} == LOOSE


def pieces(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, lines and limit of a file and of every function and class in it."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    yield name, len(text.splitlines()), LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            limit = LONGEST_CLASS if isinstance(node, ast.ClassDef) else LONGEST_FUNCTION
            yield f"{name}: {node.name}", (node.end_lineno or 0) - node.lineno + 1, limit


def test_no_function_class_or_file_is_too_long():
    too_long = [
        f"{name} has {lines} lines of at most {limit}"
        for path in PYTHON
        for name, lines, limit in pieces(path)
        if lines > limit
    ]
    assert not too_long, "\n".join(too_long)
