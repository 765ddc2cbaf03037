"""`ethos pool lint`: what is wrong with the personas of a pool."""

from __future__ import annotations

import sys
from typing import Any

import click

from ethos.cli.options import as_json, pool_options, settings

EXIT_CHECK_FAILED = 4


@click.command()
@pool_options
@as_json
def lint(as_json: bool, **given: Any) -> None:
    """Look for personas that contradict themselves, are nobody, or miss their scenario.

    \b
    Finds:
      contradiction         two attributes of one persona exclude each other
      abstract stakeholder  a role without work, place or relation: "Bystander"
      overextended value    a value that has nothing to do with the scenario, or says nothing
      thematic overlap      three or more personas of one scenario stand for one theme
      text fault            cut off, repeated, copied, or in the wrong attribute

    Changes no persona, and needs no language model. Exits with 4 when there is something to fix, with 0 when not.
    """
    from ethos.cli.output.render import print_json, table
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.curation.lint import Kind
    from ethos.pool.curation.lint import lint as find

    with Ethos(settings=settings(given)) as ethos:
        findings = find(ethos.pool.store.links(), ethos.pool.vectors)
    if as_json:
        print_json(
            [
                {
                    "kind": found.kind,
                    "persona_ids": found.persona_ids,
                    "message": found.message,
                    "situation": found.situation,
                    "fix": found.fix,
                }
                for found in findings
            ]
        )
    else:
        counts = {kind: [found for found in findings if found.kind is kind] for kind in Kind}
        for kind, of_kind in counts.items():
            if of_kind:
                table(
                    ("persona", "what is wrong", "made for", "how to fix it"),
                    [("\n".join(i[:12] for i in f.persona_ids), f.message, f.situation[:60], f.fix) for f in of_kind],
                    kind.capitalize(),
                )
        table(("kind", "count"), [(kind, len(of_kind)) for kind, of_kind in counts.items()])
    if findings:
        sys.exit(EXIT_CHECK_FAILED)
