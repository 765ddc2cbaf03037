"""The command line: parses, calls one function, prints. Holds no logic.

Heavy libraries are imported inside commands only, so that `ethos --help` is instant.
"""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Any

import click

from ethos.errors import EthosError

EXIT_ERROR = 1


COMMANDS = {
    "answer": "ethos.cli.answer.command:answer",
    "audit": "ethos.cli.audit.group:audit",
    "doctor": "ethos.cli.pool.maintenance:doctor",
    "eval": "ethos.cli.evaluate.group:evaluate",
    "pool": "ethos.cli.pool.group:pool",
}


class EthosGroup(click.Group):
    """Prints our errors as one line on stderr with an exit code, in one place."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an `EthosError` ends it with what is wrong and how to fix it."""
        # Imports allocate hundreds of thousands of objects that stay; scanning them takes a tenth of a short command.
        gc.set_threshold(100_000)
        try:
            return super().invoke(ctx)
        except EthosError as error:
            fix = f" Fix: {error.hint}." if error.hint else ""
            click.echo(" ".join(f"Error: {error.message}.{fix}".split()), err=True)
            ctx.exit(EXIT_ERROR)


class LazyGroup(EthosGroup):
    """Imports a command of `COMMANDS` at its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command by name; None for an unknown one."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ethos-pool", prog_name="ethos")
def main() -> None:
    """Pluralistic answers to health scenarios, from a pool of personas that you can audit.

    \b
    Start here:
      ethos pool init
      ethos answer "Should a hospital tell a dying patient the truth?"
      ethos audit list
      ethos doctor

    The default model is a 135M demonstration model: it shows the machinery, not good answers. Name a larger one with
    --model transformers:NAME_OR_FOLDER, or an endpoint with --model openai:NAME --base-url URL.

    Exit codes: 0 done, 1 error, 2 usage, 3 partly done, 4 a check failed.
    """
