"""A page of the documentation for each notebook, with its outputs: a hook of MkDocs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

NOTEBOOK = ".ipynb"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for each notebook that MkDocs has found."""
    for file in [file for file in files if file.src_uri.endswith(NOTEBOOK)]:
        notebook = json.loads(Path(file.abs_src_path or "").read_text("utf-8"))
        parts = [part for cell in notebook["cells"] for part in _cell(cell)]
        page = file.src_uri.removesuffix(NOTEBOOK) + ".md"
        name = Path(file.src_uri).name
        title, _, rest = "\n\n".join(parts).partition("\n")
        content = f"{title}\n\n[This page as a notebook]({name}), to run and to change.\n{rest}\n"
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to a notebook lead to its page; only that page leads to the notebook."""
    if files.get_file_from_path(page.file.src_uri.removesuffix(".md") + NOTEBOOK):
        return markdown
    return re.sub(r"(\]\([^)\s]+)\.ipynb(?=[)#])", r"\1.md", markdown)


def _cell(cell: dict[str, Any]) -> list[str]:
    """Return a cell as Markdown: what is written, or code and what came of it."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [_block(source, "python"), *(part for each in cell["outputs"] for part in _output(each))]


def _output(output: dict[str, Any]) -> list[str]:
    """Return what a cell printed or showed: of several forms, the one that shows most."""
    if "text" in output:
        return [_block("".join(output["text"]), "text")]
    data = output["data"]
    if "image/png" in data:
        return [f'<img alt="What the cell shows" src="data:image/png;base64,{data["image/png"]}">']
    if "text/html" in data:
        # Without empty lines, which would end it as HTML.
        html = "".join(data["text/html"])
        return ["<div>" + "".join(line for line in html.splitlines() if line.strip()) + "</div>"]
    return [_block("".join(data["text/plain"]), "text")]


def _block(text: str, language: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"
