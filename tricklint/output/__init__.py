"""How a report is shown: one module a format, each with `render(report, settings, style) -> str`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tricklint.output.style import Style
    from tricklint.report import Report
    from tricklint.settings import Settings

_MODULES = {
    "text": "text",
    "concise": "concise",
    "json": "json_",
    "sarif": "sarif",
    "github": "github",
    "gitlab": "gitlab",
    "junit": "junit",
}


def render(report: Report, settings: Settings, style: Style | None = None) -> str:
    """The report in `settings.output_format`, ready to be printed. `style`: the terminal's unless one is given."""
    from tricklint.output.style import Style

    module = importlib.import_module(f"tricklint.output.{_MODULES[settings.output_format]}")
    text: str = module.render(report, settings, style or Style())
    return text
