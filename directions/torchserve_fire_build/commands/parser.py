"""A parser of command lines that says in one line what is wrong, and what may have been meant."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from .refusal import Refusal


class OneLineParser(argparse.ArgumentParser):
    """Refuses a command line in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            Refusal: always.
        """
        if found := re.match(r"argument ([^:]+): (.*)", message, re.DOTALL):
            message = _named(found[1], found[2])
        raise Refusal(message, self.prog)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse a command line; nothing in it may be unknown.

        An unknown flag is reported before a missing one: it may be the missing one, misspelt.
        """
        words = sys.argv[1:] if args is None else list(args)
        self._refuse_unknown_flags(words)
        parsed, unknown = super().parse_known_args(words, namespace)
        if unknown:
            self.error(f"{' '.join(unknown)}: expected nothing more")
        return parsed, unknown

    def _refuse_unknown_flags(self, words: Sequence[str]) -> None:
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return  # What follows is no flag, or one of the command that this word names.
            flag = word.partition("=")[0]
            # As argparse has it, a word with a blank in it is a value.
            if (
                flag.startswith("--")
                and " " not in word
                and flag not in self._option_string_actions
            ):
                known = [name for name in self._option_string_actions if name.startswith("--")]
                self.error(f"{flag}: no such flag{_meant(flag.replace('_', '-'), known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is None or value in choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            hint = _meant(value, choices) or f", expected one of {', '.join(choices)}"
            raise argparse.ArgumentError(action, f"{value}: no such command{hint}")
        raise argparse.ArgumentError(
            action, f"{value}: expected one of {', '.join(choices)}{_meant(value, choices)}"
        )


class ShowVersion(argparse.Action):
    """The flag `--version`: prints which version is installed, and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        help_text = "print the installed version and exit"
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help_text)

    def __call__(self, parser: argparse.ArgumentParser, *others: object) -> None:
        """Print the version from the metadata of the installation, and exit."""
        from ..common.installed import installed_version

        print(parser.prog, installed_version(parser.prog))
        parser.exit()


def _named(name: str, problem: str) -> str:
    """Return `--flag value: what was expected`; of what has no flag, the value and the rest."""
    if ": " not in problem:
        return f"{name}: {problem}"
    return f"{name} {problem}" if name.startswith("-") else problem


def _meant(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
