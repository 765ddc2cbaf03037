"""HTML pages from templates: each is one file that needs nothing from elsewhere and runs no script.

Knows the templates' folder; knows nothing of what they show.
"""

from __future__ import annotations

from importlib.resources import files


def page(template: str, **values: object) -> str:
    """A page; every text in it is escaped.

    Args:
        template: The name of a file in ``ethos/data``; it may include others of them.
        values: What it shows; a name that the template asks for and is not given is an error.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # late: only a page needs it

    loader = FunctionLoader(lambda name: (files("ethos.data") / name).read_text(encoding="utf-8"))
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(values)
