"""How a page is made: its template filled in, and figures as JSON inside a script element."""

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lightsleeper.report.style import Figure

__all__ = ["render", "script_json"]


def render(template: str, **values: Any) -> str:
    """A template of this package with its values; a missing one is an error, and text is escaped."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    # jinja2 chooses by file ending whether to escape; ours hides the .html, so it is always on.
    return Environment(
        loader=PackageLoader("lightsleeper.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def script_json(data: Figure) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), sort_keys=True, ensure_ascii=True)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
