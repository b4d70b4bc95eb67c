"""HTML of the pages, from the templates beside this file: every value is escaped unless it is `Markup` already."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from txray.plots.text import count, percent, sanitize


def render(template: str, **values: object) -> Markup:
    """Return the HTML of a template; text is plain, words and names pass through `sanitize` in the template."""
    return Markup(_environment().get_template(template).render(values))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("txray.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Templates do not change while the program runs.
        auto_reload=False,
    )
    environment.filters.update(sanitize=sanitize, count=count, percent=percent)
    return environment
