"""What a review is about, and what its steps need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..source.source_files import SourceFiles


@dataclass(frozen=True)
class Plan:
    """What a review is about, and what its steps need.

    Attributes:
        title: what is reviewed: the model's name, or the folder's.
        folder: the quarantine.
        output: folder of the decisions, and of what is built from them.
        step_command: runs a step that needs the model; the file with its job comes behind.
        model: the model; None where it is not given.
        bundle: that flagged the files; None: the one in the model's archive.
        clean: clean samples to refine with; None where they are not given.
        swap_command: puts a bundle into service; the bundle's path comes behind. Empty where no
            server is given.
        server: the server in words; empty where none is given.
        version: that is served, in words; empty where none is given.
    """

    title: str
    folder: Path
    output: Path
    step_command: Sequence[str]
    model: SourceFiles | None = None
    bundle: Path | None = None
    clean: Path | None = None
    swap_command: Sequence[str] = ()
    server: str = ""
    version: str = ""

    @property
    def cannot_refine(self) -> str:
        """Why no bundle can be built; empty where one can."""
        if self.model is None:
            return "Started without a model: start with --archive, or with --management."
        if self.clean is None:
            return "Started without clean samples: start with --clean."
        return ""

    @property
    def cannot_deploy(self) -> str:
        """Why no bundle can be put into service; empty where one can."""
        if not self.swap_command:
            return "Started without a server: start with --management, or run torchserve-fire swap."
        return ""
