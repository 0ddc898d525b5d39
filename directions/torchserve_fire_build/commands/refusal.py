"""The exception for a command line that cannot be carried out."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - no error of the program.
    """A command line cannot be carried out: the message names flag, value, and what was expected.

    Attributes:
        command: whose help says more, such as `torchserve-fire build`; None for the one that runs.
    """

    def __init__(self, message: str, command: str | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.command = command
