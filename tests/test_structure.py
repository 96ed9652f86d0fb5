"""Data flows one way: a package imports only from those before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "netspec"

ALLOWED: dict[str, set[str]] = {
    "diagnostics": set(),
    "symbolic": set(),
    "operations": set(),
    "document": {"diagnostics"},
    "layers": {"symbolic", "operations", "diagnostics", "program.builder", "network.errors"},
    "network": {"diagnostics", "document", "layers", "symbolic"},
    "graph": {"diagnostics", "document", "layers", "network", "symbolic"},
    "program": {"operations", "layers", "graph", "symbolic", "backends.base"},
    "backends": {"operations"},
}
"""The packages of the flow and what each may import; edges (cli, report, runtime, interop) may import all."""


def imports(file: Path) -> set[str]:
    """Modules of this package that a file imports, also inside functions, but not only for type checking."""
    found: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If)
        and isinstance(branch.test, ast.Name)
        and branch.test.id == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("netspec"):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("netspec")}
    return {module.removeprefix("netspec").lstrip(".") for module in found}


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_follow_the_flow(package: str) -> None:
    for file in (PACKAGE / package).rglob("*.py"):
        for module in imports(file):
            if not module or module.split(".")[0] == package:
                continue
            assert any(module == ok or module.startswith(ok + ".") for ok in ALLOWED[package]), (
                f"{file.relative_to(PACKAGE)} imports netspec.{module}"
            )


def test_no_layer_knows_a_backend() -> None:
    for file in (PACKAGE / "layers").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "cupy" not in text
        assert "backends" not in text


def test_nothing_imports_torch() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("torch", "onnxruntime") for name in names), file
