"""A page of the documentation for all commands, made from their parsers: a hook of MkDocs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGE = "reference/commands.md"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page to those that MkDocs has found."""
    # The commands of this checkout, whatever is installed.
    sys.path[:0] = [str(ROOT / "handler"), str(ROOT / "directions")]
    from torchserve_fire_build.commands.main import PROGRAM, build_parser

    parser = build_parser()
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    summaries = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    parts = ["# Commands\n", f"What `{PROGRAM} COMMAND --help` says.\n"]
    parts += [f"- [`{name}`](#{name}): {_text(summaries[name])}" for name in commands.choices]
    parts += [_section(name, command) for name, command in commands.choices.items()]
    files.append(File.generated(config, PAGE, content="\n".join(parts)))
    return files


def _section(name: str, command: argparse.ArgumentParser) -> str:
    """Return a command's description, and a table of what it takes."""
    rows = ["| argument | meaning |", "|---|---|"]
    for action in command._actions:
        if action.help is argparse.SUPPRESS or action.dest == "help":
            continue
        rows.append(f"| {_how_it_is_given(action)} | {_text(_expanded(command, action))} |")
    return "\n".join(["", f"## {name}", "", _text(command.description or ""), "", *rows])


def _how_it_is_given(action: argparse.Action) -> str:
    """Return an argument's names, with what follows them."""
    value = action.metavar or (action.choices and "{" + ",".join(action.choices) + "}")
    if isinstance(value, tuple):
        value = " ".join(value)
    if not action.option_strings:
        return f"`{value or action.dest}`"
    takes = "" if action.nargs == 0 else f" {value or action.dest.upper()}"
    return ", ".join(f"`{option}{takes}`" for option in action.option_strings).replace("|", "\\|")


def _expanded(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    return command._get_formatter()._expand_help(action) if action.help else ""


def _text(text: str) -> str:
    """Return help as Markdown on one line: nothing in it is markup."""
    escaped = "".join(f"\\{sign}" if sign in "\\`*_{}[]<>|" else sign for sign in text)
    return " ".join(escaped.split())
