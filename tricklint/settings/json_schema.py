"""The JSON schema of a `tricklint.toml` (and of `[tool.tricklint]`), for editors: draft 7, as SchemaStore asks for."""

from __future__ import annotations

from typing import Any

from tricklint.about import PAGES
from tricklint.settings.schema import SCHEMA, Key, Table, Tables


def json_schema() -> dict[str, Any]:
    """The whole schema, from the table that checks configuration files."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": f"{PAGES}tricklint.schema.json",
        "title": "tricklint",
        "description": "Configuration of tricklint, the linter for training recipes.",
        **_table(SCHEMA),
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _one(name, value) for name, value in table.keys.items()},
    }


def _one(name: str, value: Key | Table | Tables) -> dict[str, Any]:
    if isinstance(value, Key):
        described: dict[str, Any] = {"description": _plain(value.help)}
        if value.default and not value.default.startswith("("):
            from tricklint.settings.read import loads

            described["default"] = loads(f"value = {value.default}")["value"]
        return described | dict(value.kind.json)
    if isinstance(value, Table):
        return {"description": _plain(value.help), **_table(value)}
    of = _table(value.of) | {"required": [value.needs]}
    return {"description": _plain(value.help), "type": "object", "additionalProperties": of}


def _plain(text: str) -> str:
    return text.replace("`", "")
