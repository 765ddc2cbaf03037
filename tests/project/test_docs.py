"""The documentation is true: its code runs, its links and paths exist, its reference is the code's own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ethos.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# tests/audit/test_export.py runs the block of this page, on a file that an export wrote.
ELSEWHERE = "docs/how-to/audit.md"
BLOCKS = [
    pytest.param(block, id=f"{name}-{number}")
    for name in NAMES
    if name != ELSEWHERE
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text("utf-8"), re.M | re.S))
]


def test_the_readme_has_at_most_150_lines_and_the_glossary_30_terms() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    terms = [line for line in (ROOT / "docs/glossary.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    assert len(terms) - 2 <= 30


@pytest.mark.parametrize("block", BLOCKS)
def test_a_code_block_runs(block: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_links_and_paths_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    missing = [link for link in links if not ((ROOT / name).parent / link).exists()]
    # The page of moves names paths that are no more.
    paths = [] if name == "docs/moves.md" else re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text)
    paths = [path for path in paths if "NAME" not in path]  # a name to be chosen
    tops = {path.name for path in ROOT.iterdir()} - {"build"}
    missing += [path for path in paths if path.split("/")[0] in tops and not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("docs/reference/")])
def test_every_command_line_names_a_command_and_its_options(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    shown = re.findall(r"^ {4}(?:\$ )?(ethos [a-z].*)$|`(ethos [a-z][^`]*)`", text, re.M)
    for line in [block or inline for block, inline in shown]:
        words = shlex.split(line.replace("…", "X"), comments=True)
        command: click.Command = main
        context = click.Context(main)
        rest = words[1:]
        while rest and isinstance(command, click.Group) and not rest[0].startswith("-"):
            found = command.get_command(context, rest[0])
            assert found is not None, line
            command, rest = found, rest[1:]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word for word in rest if word.startswith("-")} - known - {"--help", "-"}
        assert (line, unknown) == (line, set())


def test_every_symbol_that_is_named_after_its_file_is_in_it() -> None:
    for name in NAMES:
        text = (ROOT / name).read_text(encoding="utf-8")
        pairs = re.findall(r"`([\w/]+\.py)`,\s`([A-Za-z_.]+)`", text)
        pairs += [(path, symbol) for symbol, path in re.findall(r"`(\w+)`\s(?:in|of)\s`([\w/]+\.py)`", text)]
        for path, symbol in pairs:
            last = re.escape(symbol.rsplit(".", 1)[-1])
            code = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^\s*(?:def|class) {last}\b|^{last}\b.*=", code, re.M), (name, path, symbol)


def test_every_variable_that_a_page_names_is_read_by_the_code() -> None:
    folders = ("ethos", "cli", "pool", "benchmarks")
    code = "".join(path.read_text(encoding="utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py"))
    read = set(re.findall(r"ETHOS_[A-Z_]+[A-Z]", code))
    for name in NAMES:
        named = set(re.findall(r"`?(ETHOS_[A-Z_]+[A-Z])", (ROOT / name).read_text(encoding="utf-8")))
        assert (name, named - read) == (name, set())


def test_every_new_path_of_the_moves_exists() -> None:
    rows = re.findall(r"^\| (\S+/\S+) \| (\S+) \|$", (ROOT / "docs/moves.md").read_text(encoding="utf-8"), re.M)
    assert len(rows) > 200
    assert [new for _, new in rows if not (ROOT / new).exists()] == []


def test_the_reference_is_what_the_code_says(tmp_path: Path) -> None:
    # A process of its own: click keeps a command's help option as its first caller named it.
    subprocess.run([sys.executable, str(ROOT / "scripts" / "reference"), str(tmp_path)], check=True)
    for page in ("api.md", "cli.md"):
        written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
        assert written == (tmp_path / page).read_text(encoding="utf-8"), "run scripts/reference"
