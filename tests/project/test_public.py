"""What users rely on: public names, a light `--help`, one package of four folders."""

from __future__ import annotations

import subprocess
import sys

import ethos

HEAVY = {"torch", "faiss", "transformers", "sqlalchemy", "sentence_transformers", "openai", "numpy", "scipy", "rich"}


def modules_after(code: str) -> set[str]:
    listing = f"import sys\n{code}\nprint('\\n'.join(m for m in sys.modules if '.' not in m))"
    result = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_the_public_names_are_sorted_and_load() -> None:
    assert ethos.__all__ == sorted(ethos.__all__)
    assert all(getattr(ethos, name).__name__ == name for name in ethos.__all__)


def test_help_imports_nothing_heavy() -> None:
    code = "from ethos.cli import main\ntry: main(['--help'])\nexcept SystemExit as done: assert done.code == 0"
    assert not HEAVY & modules_after(code)


def test_help_of_every_command_imports_nothing_heavy() -> None:
    commands = [["answer"], ["pool"], ["pool", "build"], ["pool", "search"], ["audit"], ["audit", "show"]]
    lines = [
        f"try: main({[*command, '--help']})\nexcept SystemExit as done: assert done.code == 0" for command in commands
    ]
    assert not HEAVY & modules_after("from ethos.cli import main\n" + "\n".join(lines))


def test_importing_ethos_imports_nothing_heavy() -> None:
    assert not HEAVY & modules_after("import ethos")
