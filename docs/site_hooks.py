"""What `mkdocs build` does beside reading Markdown: the list of rules, and links that lead out of docs/.

A page is read in the repository too, where `../bench/results/x.svg` is a picture. In the site such pictures are copied,
and links to other files of the repository lead to the repository's own address.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_OUT = re.compile(r"(!?\[[^\]]*\]\()((?:\.\./)+)([^)#\s]+)([^)]*\))")
_PICTURES = (".svg", ".png")


def on_config(config: Any) -> Any:
    """The rules' pages in the navigation, by trick."""
    from tricklint.rule import discover

    by_trick: dict[str, list[str]] = {}
    for rule in discover():
        by_trick.setdefault(rule.trick, []).append(f"rules/{rule.name}.md")
    rules = ["rules/index.md", *({trick: pages} for trick, pages in by_trick.items()), "rules/unused-ignore.md"]
    config.nav = [{"Rules": rules} if item == {"Rules": "rules/"} else item for item in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    for name in sorted({name for page in Path(config.docs_dir).rglob("*.md") for _, name in _outside(page)}):
        if name.endswith(_PICTURES):
            files.append(File.generated(config, f"outside/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    depth = page.file.src_uri.count("/")

    def to_site(match: re.Match[str]) -> str:
        before, ups, name, after = match.groups()
        if ups.count("../") <= depth:
            return match[0]
        name = "../" * (ups.count("../") - depth - 1) + name
        if name.endswith(_PICTURES):
            return f"{before}{'../' * depth}outside/{name}{after}"
        return f"{before}{config.repo_url}/blob/main/{name}{after}"

    return _OUT.sub(to_site, markdown)


def _outside(page: Path) -> list[tuple[str, str]]:
    depth = len(page.relative_to(ROOT / "docs").parts)
    found = _OUT.findall(page.read_text(encoding="utf-8"))
    return [(before, name) for before, ups, name, _ in found if ups.count("../") == depth]
