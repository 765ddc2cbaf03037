"""The shape of the code: every tool sees the same modules, folders stay small, and so do modules and functions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from shutil import copy, copytree

import pytest
from grimp import build_graph
from mypy.modulefinder import FindModuleCache, SearchPaths
from mypy.options import Options

ROOT = Path(__file__).parents[2]
TOP = ("cli", "ethos", "migrations", "pool")
LINKS = ("cli", "migrations", "pool")
IGNORED = {"__pycache__", "__init__.py", "py.typed"}

# Prints every module of the package, found the way Python finds it.
WALK = """
import importlib.util, pkgutil
def walk(name):
    spec = importlib.util.find_spec(name)
    print(name)
    for found in pkgutil.iter_modules(spec.submodule_search_locations or [], f"{name}."):
        walk(found.name)
walk("ethos")
"""


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    full = parts if parts[0] == "ethos" else ("ethos", *parts)
    return ".".join(full[:-1] if full[-1] == "__init__" else full)


def sources() -> list[Path]:
    found = (path.relative_to(ROOT) for top in TOP for path in (ROOT / top).rglob("*.py"))
    return sorted({path for path in found if not (path.parts[0] == "ethos" and path.parts[1] in LINKS)})


@pytest.fixture(scope="module")
def modules() -> set[str]:
    return {module_of(path) for path in sources()}


def run(*command: str, cwd: Path) -> set[str]:
    return set(subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.split())


def test_links_lead_to_the_folders_at_the_top() -> None:
    assert {(ROOT / "ethos" / name).resolve() for name in LINKS} == {ROOT / name for name in LINKS}


def test_a_checkout_without_links_fails_with_the_fix(tmp_path: Path) -> None:
    for name in ("scripts", "ethos"):
        (tmp_path / name).mkdir()
    copy(ROOT / "scripts" / "check-links", tmp_path / "scripts")
    for name in LINKS:
        (tmp_path / "ethos" / name).write_text(f"../{name}")  # what git writes where links are switched off
    done = subprocess.run([tmp_path / "scripts" / "check-links"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Fix: git config core.symlinks true && git checkout -- ethos/" in done.stderr


def test_an_editable_install_sees_every_module(modules: set[str], tmp_path: Path) -> None:
    assert run(sys.executable, "-c", WALK, cwd=tmp_path) == modules


def test_without_an_install_python_sees_every_module_from_the_root(modules: set[str]) -> None:
    # -S skips the .pth files, and with them the editable install; libraries are added by hand.
    libraries = f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
    assert run(sys.executable, "-S", "-c", libraries + WALK, cwd=ROOT) == modules


def test_a_wheel_holds_every_module(modules: set[str], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for top in TOP:
        copytree(ROOT / top, tree / top, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy(ROOT / name, tree)
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), "."]
    subprocess.run([sys.executable, *build], cwd=tree, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if not re.match(r"[^/]*\.dist-info/", name)]
    assert {module_of(Path(name)) for name in names if name.endswith(".py")} == modules
    assert {Path(name) for name in names if not name.endswith(".py")} == data_files()


def data_files() -> set[Path]:
    """Files that are no modules, by their path in a wheel."""
    found = set()
    for top in TOP:
        for path in (ROOT / top).rglob("*"):
            inside = path.relative_to(ROOT)
            linked = top == "ethos" and len(inside.parts) > 1 and inside.parts[1] in LINKS
            if path.is_file() and path.suffix not in (".py", ".pyc") and not linked:
                found.add(inside if top == "ethos" else "ethos" / inside)
    return found


def test_mypy_sees_every_module(modules: set[str]) -> None:
    paths = SearchPaths((str(ROOT),), (), (), ())
    found = FindModuleCache(paths, None, Options()).find_modules_recursive("ethos")
    # A folder without Python files is a namespace to mypy.
    assert {source.module for source in found if str(source.path).endswith(".py")} == modules


def test_import_linter_sees_every_module(modules: set[str]) -> None:
    assert set(build_graph("ethos", cache_dir=None).modules) == modules


def test_ruff_sees_every_module(modules: set[str]) -> None:
    files = run(sys.executable, "-m", "ruff", "check", "--show-files", *TOP, cwd=ROOT)
    seen = {Path(name).relative_to(ROOT) for name in files if name.endswith(".py")}
    assert {module_of(path) for path in seen} == modules


def test_every_package_is_declared(modules: set[str]) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    assert declared == sorted(module_of(path) for path in sources() if path.name == "__init__.py")


def test_a_folder_has_at_most_twelve_entries_and_the_hall_sixteen() -> None:
    folders = {path.parent for path in sources() if path.parts[:2] != ("migrations", "versions")}
    entries = {str(folder): {path.name for path in (ROOT / folder).iterdir()} - IGNORED for folder in folders}
    crowded = {name: len(held) for name, held in entries.items() if len(held) > (16 if name == "ethos" else 12)}
    assert crowded == {}


def test_no_module_has_more_than_350_lines_and_no_function_more_than_60() -> None:
    long: list[str] = []
    for path in sources():
        if path.parts[:2] == ("migrations", "versions"):
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        if text.count("\n") > 350:
            long.append(str(path))
        functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
        long += [f"{path}: {one.name}" for one in functions if (one.end_lineno or 0) - one.lineno > 60]
    assert long == []
