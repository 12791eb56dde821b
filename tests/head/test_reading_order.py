"""The reading order in the docstring of `nha.head` is the order of its imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nha.head

FOLDER = Path(nha.head.__file__).parent


def reading_order() -> list[str]:
    lines = re.findall(r"^\d+\. (.*?): ", nha.head.__doc__, re.MULTILINE)
    return [name for line in lines for name in re.findall(r"`(\w+)`", line)]


def test_every_module_is_in_the_reading_order():
    modules = {path.stem for path in FOLDER.glob("*.py")} | {
        path.parent.name for path in FOLDER.glob("*/*.py")
    }
    assert sorted(reading_order()) == sorted(modules - {"__init__"})


def test_modules_import_only_modules_above_them():
    place = {name: i for i, name in enumerate(reading_order())}
    upward = []
    for path in FOLDER.rglob("*.py"):
        name = path.relative_to(FOLDER).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nha.head"):
                parts = node.module.split(".")[2:]
                imported = parts[:1] or [alias.name for alias in node.names]
                upward += [(name, other) for other in imported if place[other] > place.get(name, -1)]
    assert not upward


def test_no_import_is_inside_a_function():
    functions = [
        node
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    imports = (ast.Import, ast.ImportFrom)
    assert not [f.name for f in functions if any(isinstance(node, imports) for node in ast.walk(f))]
