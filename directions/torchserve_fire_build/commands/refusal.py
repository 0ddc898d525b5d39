"""What is raised where a command line asks for something that cannot be."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - nothing went wrong but the question.
    """A command line is refused; the message names the flag, the value, and what was expected.

    It is no FireError, since nothing of this project's core is needed to say so.

    Attributes:
        command: of which it was, as `torchserve-fire build`; None where the caller knows.
    """

    def __init__(self, message: str, command: str | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.command = command
