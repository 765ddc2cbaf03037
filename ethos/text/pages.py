"""HTML pages from templates: one self-contained file each, without scripts.

Knows the shared style sheet beside this file; knows nothing of what a page shows.
"""

from __future__ import annotations

from importlib.resources import files


def page(package: str, template: str, **values: object) -> str:
    """Return a page as HTML, with every value escaped.

    Args:
        package: The package that holds the template.
        template: File name of the template; it may include others of the package and ``page.css``.
        values: The values that the template names.

    Raises:
        jinja2.UndefinedError: The template names a value that was not given.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # late: only a page needs it

    def load(name: str) -> str:
        home = __package__ if name == "page.css" else package
        return (files(home) / name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(load), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(values)
