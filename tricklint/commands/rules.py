"""`tricklint rule TRK601` and `tricklint rules`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tricklint import settings as configuration
from tricklint.commands.complete import complete_rules
from tricklint.commands.options import rule_path

if TYPE_CHECKING:
    from tricklint.rule import Rule


class _Unknown(click.ClickException):
    exit_code = 2


def _all_rules(rule_paths: tuple[Path, ...]) -> list[Rule]:
    from tricklint.check import known_rules

    given = {"rule-paths": [str(path) for path in rule_paths]} if rule_paths else {}
    try:
        settings = configuration.load([Path()], options=given)
        for refused in settings.refused:
            click.echo(f"error: {refused}", err=True)
        return known_rules(settings)
    except configuration.SettingsError as error:
        raise _Unknown(str(error)) from None


def _describe(rule: Rule) -> dict[str, object]:
    return {
        "code": rule.code,
        "name": rule.name,
        "summary": rule.summary,
        "severity": rule.severity.value,
        "fix": rule.fix_level.value if rule.fix_level else None,
        "trick": rule.trick,
        "on_by_default": rule.on_by_default,
        "needs_trace": rule.needs_trace,
    }


@click.command()
@click.argument("rule", metavar="RULE", shell_complete=complete_rules)
@click.option("--output-format", type=click.Choice(["text", "json"]), default="text")
@rule_path
def rule(rule: str, output_format: str, rule_paths: tuple[Path, ...]) -> None:
    """Explain one rule, by its code (TRK601) or name (decay-on-bias-norm)."""
    from tricklint.output.style import colours_wanted
    from tricklint.selection import find

    rules = _all_rules(rule_paths)
    found = find(rule, rules)
    if found is None:
        words = [word for one in rules for word in (one.code, one.name)]
        near = configuration.nearest(rule, words)
        raise _Unknown(f"no rule is called '{rule}'{near}; `tricklint rules` lists them")
    if output_format == "json":
        click.echo(json.dumps(_describe(found) | {"page": found.page}, indent=2))
        return
    page = f"# {found.name} ({found.code})\n\n{_facts(found)}\n\n{found.page}\n"
    if not colours_wanted():
        click.echo(page)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(width=min(100, Console().width))
    console.print(Markdown(page))


def _facts(rule: Rule) -> str:
    facts = [f"Severity: {rule.severity.value}"]
    facts.append(f"Fix: {rule.fix_level.value}" if rule.fix_level else "No fix")
    if not rule.on_by_default:
        facts.append("Off by default (`--extend-select " + rule.code + "`)")
    if rule.needs_trace:
        facts.append("Needs `--trace`")
    return " · ".join(facts)


@click.command()
@click.option("--output-format", type=click.Choice(["text", "json"]), default="text")
@rule_path
def rules(output_format: str, rule_paths: tuple[Path, ...]) -> None:
    """List all rules: code, name, severity, the level of the fix, and what each is about."""
    from tricklint.output.style import Style

    known = _all_rules(rule_paths)
    if output_format == "json":
        click.echo(json.dumps([_describe(rule) for rule in known], indent=2))
        return
    style = Style()
    width = max(len(rule.name) for rule in known)
    trick = None
    for one in known:
        if one.trick != trick:
            trick = one.trick
            click.echo(("" if one is known[0] else "\n") + style.bold(trick or "other"), color=style.coloured)
        fix = one.fix_level.value if one.fix_level else "-"
        severity = style.severity(one.severity, f"{one.severity.value:8}")
        off = "" if one.on_by_default else " (off by default)"
        off += " (needs --trace)" if one.needs_trace else ""
        click.echo(f"  {one.code}  {one.name:{width}}  {severity}  {fix:7} {one.summary}{off}", color=style.coloured)
    click.echo("\ncode, name, severity, level of the fix, summary; `tricklint rule CODE` prints a page")
