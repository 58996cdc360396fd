"""Hooks of mkdocs: pages from the repository's root and from the code, decisions in the menu."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from docs.reference import generate

ROOT = Path(__file__).parents[1]
# Page of the site: file of the repository.
FROM_ROOT = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decisions in the menu, in their order."""
    folder = Path(config.docs_dir, "explanation", "decisions")
    decisions = [f"explanation/decisions/{file.name}" for file in sorted(folder.glob("[0-9]*.md"))]
    section: list[Any] = config.nav[-1]["Explanation"]
    section[-1] = {"Decisions": ["explanation/decisions/index.md", *decisions]}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand at the root, and what the code says of the API."""
    for page, source in FROM_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "reference/schemas.md", content=generate.schemas()))
    document = json.dumps(generate.openapi(), indent=2)
    files.append(File.generated(config, "reference/openapi.json", content=document))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead where the site has what they mean; a file of the code is named instead."""
    own = page.file.src_uri
    at = FROM_ROOT.get(own, f"docs/{own}")
    pages = {source: name for name, source in FROM_ROOT.items()}

    def resolved(link: re.Match[str]) -> str:
        label, target, anchor = link.groups()
        if ":" in target:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
        if path not in pages and not path.startswith("docs/") and (ROOT / path).exists():
            return f"{label} (`{path}`)"
        to = posixpath.relpath(pages.get(path, path.removeprefix("docs/")), posixpath.dirname(own))
        return f"[{label}]({to}{anchor or ''})"

    return LINK.sub(resolved, markdown)
