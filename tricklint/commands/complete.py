"""What a shell offers for an option that takes rules."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem


def complete_rules(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Codes and names of rules that start with what was typed, after the last comma."""
    from tricklint import settings
    from tricklint.check import known_rules

    before, comma, word = incomplete.rpartition(",")
    try:
        rules = known_rules(settings.load([Path()]))
    except settings.SettingsError:
        rules = known_rules(settings.load([Path()], isolated=True))
    found = [CompletionItem(before + comma + rule.code, help=rule.summary) for rule in rules]
    found += [CompletionItem(before + comma + rule.name, help=rule.summary) for rule in rules]
    return [item for item in found if item.value[len(before + comma) :].lower().startswith(word.lower())]
