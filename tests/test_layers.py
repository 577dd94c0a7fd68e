"""The shape of the code: layers, names, docstrings, dependencies. The rules are those of ARCHITECTURE.md."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "operator" / "passmuster"
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "base", "common", "core", "manager", "managers", "misc"}
BROAD = {"handlers/operator.py"}
"""Where everything may be caught: the outermost loops, which must outlive a defect and log it."""


@cache
def trees(root: Path = PACKAGE) -> Mapping[str, ast.Module]:
    """Every module below a folder as Python reads it, by its path from there."""
    return {str(path.relative_to(root)): ast.parse(path.read_text()) for path in sorted(root.rglob("*.py"))}


def test_the_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_source_root_is_no_package_because_it_would_hide_the_standard_library_s_operator() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert [path.name for path in (ROOT / "operator").iterdir() if path.suffix == ".py"] == []


def test_boto3_did_not_fall_back_to_an_ancient_version() -> None:
    """An open resolve beside kubernetes 37.0.2 silently chooses boto3 0.0.3."""
    major, minor = (int(part) for part in version("boto3").split(".")[:2])
    assert (major, minor) >= (1, 44)


def test_moto_is_pinned_because_the_sandbox_extends_its_internals() -> None:
    pinned = re.search(r'"moto\[all,server\]==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned is not None
    assert version("moto") == pinned[1]


def test_every_dependency_says_why_it_is_there() -> None:
    lines = re.findall(r'^  "([a-z][\w.-]*(?:\[.*?\])?[<>=].*?)",(.*)$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert len(lines) >= 15
    assert [name for name, comment in lines if not comment.strip().startswith("#")] == []


def test_every_module_says_why_it_exists() -> None:
    docstrings = {name: ast.get_docstring(tree) or "" for name, tree in trees().items()}
    assert [name for name, text in docstrings.items() if len(text.split()) < 2] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    parts = {name: {part.removesuffix(".py") for part in Path(name).parts} for name in trees()}
    assert [name for name, found in parts.items() if found & FORBIDDEN_NAMES] == []


def test_nothing_is_left_for_later_in_a_comment() -> None:
    assert [
        str(path) for path in sorted(PACKAGE.rglob("*.py")) if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())
    ] == []


def test_only_the_outermost_loops_catch_everything() -> None:
    handlers = {
        name: [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and _catches_everything(node)]
        for name, tree in trees().items()
    }
    assert {name for name, found in handlers.items() if found} == BROAD


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(name, ast.Name) and name.id in ("Exception", "BaseException") for name in names)


def test_nothing_runs_at_import_that_talks_to_anybody() -> None:
    """No clients, threads, sessions or environment are looked at by the act of importing."""
    talking = re.compile(r"\b(boto3\.client|Session\(|Thread\(|os\.environ\[|getenv\(|subprocess\.)")
    passive = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If)
    texts = {
        name: [ast.unparse(one) for one in tree.body if not isinstance(one, passive)] for name, tree in trees().items()
    }
    assert [name for name, lines in texts.items() if any(talking.search(line) for line in lines)] == []


def test_no_test_patches_our_own_code() -> None:
    assert [
        name for name, tree in trees(ROOT / "tests").items() if any(_patches(node) for node in ast.walk(tree))
    ] == []


def _patches(node: ast.AST) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        named = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        return any(name in ("mock", "unittest.mock") or name.startswith("pytest_mock") for name in named)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("monkeypatch.setattr") and node.args:
        return "passmuster" in ast.unparse(node.args[0])
    return False


def test_tests_are_named_as_sentences() -> None:
    functions = [
        node.name
        for tree in trees(ROOT / "tests").values()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert [name for name in functions if name.startswith("test_") and len(name.split("_")) < 3] == []
