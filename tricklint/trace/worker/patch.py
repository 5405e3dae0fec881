"""Replacing what is not ours to replace, in one place."""

from __future__ import annotations

from typing import Any


def put(owner: Any, name: str, value: Any) -> None:
    """owner.name = value, for modules and classes of other packages."""
    setattr(owner, name, value)
