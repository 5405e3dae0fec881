"""Write the pages that are made from the code: rules, configuration, the JSON schema.

python docs/make_pages.py            # write what changed
python docs/make_pages.py --check    # exit 1 when something is out of date
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import make_api

from tricklint.rule import Rule, discover
from tricklint.settings.json_schema import json_schema
from tricklint.settings.schema import SCHEMA, Key, Table, Tables
from tricklint.unused_ignore import UnusedIgnore

DOCS = Path(__file__).parent
_MADE = "<!-- Made by docs/make_pages.py: change the code that it is made from. -->\n"


def pages() -> dict[str, str]:
    """Every made file, by its path below docs/."""
    rules = sorted([UnusedIgnore(), *discover()], key=lambda rule: rule.code)
    made = {f"rules/{rule.name}.md": _rule(rule) for rule in rules}
    made["rules/index.md"] = _rules(rules)
    made["rule-api.md"] = make_api.page(_MADE)
    made["configuration.md"] = _configuration()
    made["tricklint.schema.json"] = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    return made


def _facts(rule: Rule) -> str:
    facts = [f"**{rule.severity.value}**", f"fix: {rule.fix_level.value}" if rule.fix_level else "no fix"]
    if not rule.on_by_default:
        facts.append(f"off by default: `--extend-select {rule.code}`")
    if rule.needs_trace:
        facts.append("needs `--trace`")
    return " · ".join(facts)


def _rule(rule: Rule) -> str:
    # A summary stands above the headings in a docstring; a list needs an empty line before it in Markdown.
    page = re.sub(r"(?m)^((?!- |\s|$|\||#|```).*)\n(?=- )", r"\1\n\n", rule.page)
    page = re.sub(r"(?<![(<`\w\[/])(https?://[^\s)>,`]+[^\s)>,`.;:])", r"<\1>", page)
    return f"# {rule.name} ({rule.code})\n\n{_MADE}\n{_facts(rule)}\n\n{page}\n"


def _rules(rules: list[Rule]) -> str:
    parts = [
        f"# Rules\n\n{_MADE}\nSelect and ignore them by code, by a prefix of it, or by name; `tricklint rule CODE` prints a page.\n"
    ]
    for trick in dict.fromkeys(rule.trick for rule in rules):
        rows = [
            f"| {rule.code} | [{rule.name}]({rule.name}.md) | {rule.severity.value} "
            f"| {rule.fix_level.value if rule.fix_level else '–'} | {_cell(rule.summary)} |"
            for rule in rules
            if rule.trick == trick
        ]
        parts.append(
            f"\n## {trick}\n\n| code | name | severity | fix | what it finds |\n|---|---|---|---|---|\n"
            + "\n".join(rows)
        )
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _configuration() -> str:
    parts = [
        f"""# Configuration

{_MADE}
For each file the nearest `tricklint.toml`, or `pyproject.toml` with `[tool.tricklint]`, counts; of two in one folder the
first. `--config FILE` takes the place of what would be found, `--config KEY=VALUE` sets one key, options on the command
line win over both, `--isolated` reads no file. `tricklint check --show-settings` says what holds. A key that does not exist
and a selector that names no rule are errors.

In a `tricklint.toml` the tables below stand without the `tool.tricklint.` before them. Editors complete and check that file
with [the JSON schema](tricklint.schema.json): its first line may say

```toml
#:schema https://github.com/tricklint/tricklint/raw/main/docs/tricklint.schema.json
```

## `[tool.tricklint]`
"""
    ]
    parts += _keys(SCHEMA)
    for name, value in SCHEMA.keys.items():
        if isinstance(value, Table):
            parts.append(f"\n## `[tool.tricklint.{name}]`\n\n{value.help}\n")
            parts += _keys(value)
        elif isinstance(value, Tables):
            parts.append(f"\n## `[tool.tricklint.{name}.NAME]`\n\n{value.help} Each needs a `{value.needs}`.\n")
            parts += _keys(value.of)
    return "\n".join(parts) + "\n"


def _keys(table: Table) -> list[str]:
    found = []
    for name, key in table.keys.items():
        if isinstance(key, Key):
            default = (
                key.default.strip("()") if key.default.startswith("(") else f"`{key.default}`" if key.default else ""
            )
            lines = [f"### `{name}`\n", key.help, ""]
            lines += [f"Default: {default}", ""] if default else []
            found += [*lines, f"```toml\n{name} = {key.example}\n```\n"]
    return found


def main() -> int:
    stale = []
    made = pages()
    gone = {path for path in (DOCS / "rules").glob("*.md") if f"rules/{path.name}" not in made}
    for name, text in made.items():
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for path in gone:
        stale.append(f"rules/{path.name} (no such rule)")
        if "--check" not in sys.argv:
            path.unlink()
    for name in stale:
        print(f"{'out of date' if '--check' in sys.argv else 'wrote'}: docs/{name}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
