"""What an operator has decided of each flagged file, kept on disk, with undo."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from torchserve_fire.errors import FireError, OutputError

from ..common.errors import SamplesError

KEEP, DROP = "keep", "drop"
DECISIONS = (KEEP, DROP)

FORM = "torchserve-fire review 1"


class Decisions:
    """Decisions by file name; each change is on the disk before it counts.

    The file is a journal: one line for each change, and none is ever changed. So a crash loses at
    most the line that was being written, and undo reaches back over restarts.

    Args:
        path: the journal; it is made where it is missing.
        folder: the quarantine that it is about.

    Raises:
        OutputError: the file cannot be written.
        SamplesError: it is about another quarantine, or is no such journal.
        FireError: another process has it open.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._made: dict[str, str] = {}
        self._undo: list[dict[str, str | None]] = []
        try:
            self._file: IO[bytes] = path.open("a+b")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise FireError(
                f"{path}: another review has it open: use that one, or end it, or name another "
                "--output"
            ) from None
        try:
            self._read(folder.resolve())
        except BaseException:
            self._file.close()
            raise

    @property
    def changes(self) -> int:
        """How many changes can be undone."""
        return len(self._undo)

    def of(self, name: str) -> str | None:
        """Return what was decided of a file; None where nothing was."""
        return self._made.get(name)

    def decide(self, names: Sequence[str], decision: str | None) -> dict[str, str | None]:
        """Decide of files, or take the decision back, as one change.

        Args:
            names: of the files.
            decision: `KEEP` or `DROP`; None: nothing is decided.

        Returns:
            What has changed.

        Raises:
            OutputError: it could not be written; then nothing has changed.
        """
        changed = {name: decision for name in names if self._made.get(name) != decision}
        if changed:
            self._write({"decision": decision, "names": list(changed)})
            self._apply(changed)
        return changed

    def undo(self) -> dict[str, str | None]:
        """Take the latest change back; return what has changed, nothing where there was none.

        Raises:
            OutputError: it could not be written; then nothing has changed.
        """
        if not self._undo:
            return {}
        self._write({"undo": True})
        return self._take_back()

    def close(self) -> None:
        """Let go of the journal."""
        self._file.close()

    def _apply(self, changed: Mapping[str, str | None]) -> None:
        self._undo.append({name: self._made.get(name) for name in changed})
        self._set(changed)

    def _take_back(self) -> dict[str, str | None]:
        before = self._undo.pop()
        self._set(before)
        return before

    def _set(self, decisions: Mapping[str, str | None]) -> None:
        for name, decision in decisions.items():
            if decision is None:
                self._made.pop(name, None)
            else:
                self._made[name] = decision

    def _write(self, entry: Mapping[str, Any]) -> None:
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            # Half a line would join the next one.
            os.ftruncate(self._file.fileno(), end)
            raise OutputError(
                f"{self._path}: cannot be written: {error.strerror}; nothing was decided"
            ) from None

    def _read(self, folder: Path) -> None:
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            # What a crash has cut off was never said to be kept.
            os.ftruncate(self._file.fileno(), len(whole))
        lines = whole.splitlines()
        if not lines:
            self._write({"form": FORM, "folder": os.fspath(folder)})
            return
        try:
            head = json.loads(lines[0])
            if head["form"] != FORM:
                raise ValueError
            for line in lines[1:]:
                self._replay(json.loads(line))
        except (ValueError, KeyError, TypeError, IndexError):
            raise SamplesError(
                f"{self._path}: expected the decisions of a review; name another --output"
            ) from None
        if head["folder"] != os.fspath(folder):
            raise SamplesError(
                f"{self._path}: the decisions of a review of {head['folder']}, expected of "
                f"{folder}: name another --output"
            )

    def _replay(self, entry: Mapping[str, Any]) -> None:
        if entry.get("undo"):
            self._take_back()
            return
        decision, names = entry["decision"], entry["names"]
        if decision not in (*DECISIONS, None) or not all(isinstance(n, str) for n in names):
            raise ValueError
        self._apply(dict.fromkeys(names, decision))
