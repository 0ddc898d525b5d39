"""A review: the flagged files, what was decided, and the steps, for a page to show."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torchserve_fire.errors import OutputError
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.format.write_file import write_file

from ..common.errors import OptionError, SamplesError
from .decisions import DECISIONS, DROP, KEEP, Decisions
from .excerpt import excerpt
from .flagged_folder import PICTURE, TEXT, kind_of, read_file, read_flagged
from .job import JUDGE, REFINE, Job
from .plan import Plan
from .refine import LEAST_KEPT
from .small_picture import LARGE_SIDE, SIDE, small_picture
from .step import RUNNING, Step

DEPLOY = "deploy"
OPEN = "open"
"""What a file is called of which nothing was decided."""

JOURNAL = "decisions.jsonl"
BUNDLE = "refined.safetensors"
REFINED = "refined.json"
JUDGED = "judged.json"
JOB = "job.json"
RESULT = "result.json"
KEPT = "kept"


class Review:
    """A review. Its methods may be called by several threads.

    Args:
        plan: what it is about.

    Raises:
        FireError: the quarantine cannot be read, the output folder cannot be written, or another
            review has it open.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._lock = threading.RLock()
        self._step: Step | None = None
        self.flagged = read_flagged(plan.folder)
        self.names = self.flagged.names
        try:
            # It will hold copies of what clients have sent.
            plan.output.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{plan.output}: cannot be made: {error.strerror}") from None
        self._decisions = Decisions(plan.output / JOURNAL, plan.folder)
        self._judged_key = self._key()
        self._judged = self._read_judged()
        self._refined = self._read_refined()
        self._texts = {n: self._excerpt(n) for n in self.names if kind_of(n) == TEXT}

    def close(self) -> None:
        """End the step that runs, and let go of the decisions."""
        with self._lock:
            step = self._step
        if step is not None:
            step.cancel()
            step.wait()
        self._decisions.close()

    def state(self) -> dict[str, Any]:
        """Return all that a page shows at first, as JSON values."""
        with self._lock:
            judged = self._judged or {"files": {}, "unreadable": {}}
            return {
                "title": self.plan.title,
                "folder": os.fspath(self.plan.folder),
                "output": os.fspath(self.plan.output),
                "server": self.plan.server,
                "version": self.plan.version,
                "passed_over": self.flagged.in_words(),
                "least_kept": LEAST_KEPT,
                "cannot_refine": self.plan.cannot_refine,
                "cannot_deploy": self.plan.cannot_deploy,
                "files": [self._file(name, judged) for name in self.names],
                "status": self.status(),
            }

    def status(self) -> dict[str, Any]:
        """Return what may have changed since, as JSON values."""
        with self._lock:
            decided = [self._decisions.of(name) for name in self.names]
            counts = {
                KEEP: decided.count(KEEP),
                DROP: decided.count(DROP),
                OPEN: decided.count(None),
            }
            refined = self._refined and {
                **self._refined,
                "stale": self._refined["kept_digest"] != _digest(self._kept()),
            }
            step = self._step
            return {
                "counts": counts,
                "can_undo": self._decisions.changes > 0,
                "judged": self._judged is not None,
                "refined": refined,
                "step": None if step is None else asdict(step.status()),
            }

    def picture(self, index: int, *, large: bool) -> bytes:
        """Return a small picture of a file, PNG.

        Raises:
            SamplesError: there is none of this number, or it cannot be shown.
        """
        if not 0 <= index < len(self.names) or kind_of(self.names[index]) != PICTURE:
            raise SamplesError("no picture of this number")
        data = read_file(self.plan.folder, self.names[index])
        return small_picture(data, LARGE_SIDE if large else SIDE)

    def decide(self, indices: Sequence[int], decision: str) -> dict[str, Any]:
        """Decide of files by their numbers; return what has changed, and the status.

        Raises:
            OptionError: there is no such file or decision.
            OutputError: it cannot be written; then nothing has changed.
        """
        if decision not in (*DECISIONS, OPEN):
            raise OptionError(f"{decision!r:.40}: expected {KEEP}, {DROP} or {OPEN}")
        if not all(0 <= index < len(self.names) for index in indices):
            raise OptionError("expected numbers of files of this review")
        with self._lock:
            names = [self.names[index] for index in indices]
            made = self._decisions.decide(names, None if decision == OPEN else decision)
            return {"changed": self._by_number(made), "status": self.status()}

    def undo(self) -> dict[str, Any]:
        """Take the latest change back; return what has changed, and the status.

        Raises:
            OutputError: it cannot be written; then nothing has changed.
        """
        with self._lock:
            return {"changed": self._by_number(self._decisions.undo()), "status": self.status()}

    def judge(self) -> None:
        """Start to have the model judge the files, unless that is known.

        Raises:
            OptionError: another step runs.
        """
        with self._lock:
            self._require("")
            if self._judged is None:
                job = Job(
                    JUDGE,
                    self.plan.folder.resolve(),
                    self.names,
                    self._place(RESULT),
                    self.plan.model,
                    self.plan.bundle,
                )
                self._start_job(job, self._take_judged)

    def refine(self) -> None:
        """Start to build a bundle from what was kept.

        Raises:
            OptionError: it cannot be built, or another step runs.
            FireError: the files cannot be copied.
        """
        with self._lock:
            self._require(self.plan.cannot_refine)
            kept = self._kept()
            copied = self._copy(kept)
            job = Job(
                REFINE,
                self._place(KEPT),
                copied,
                self._place(RESULT),
                self.plan.model,
                self.plan.bundle,
                self.plan.clean,
                self._place(BUNDLE),
            )
            self._start_job(job, lambda: self._take_refined(_digest(kept)))

    def deploy(self) -> None:
        """Start to put the new bundle into service.

        Raises:
            OptionError: there is none, or no server, or another step runs.
        """
        with self._lock:
            self._require(self.plan.cannot_deploy)
            if self._refined is None:
                raise OptionError("There is no new bundle: refine first.")
            words = [*self.plan.swap_command, os.fspath(self._place(BUNDLE))]
            self._step = Step(DEPLOY, words, self._take_deployed)

    def cancel(self) -> None:
        """Cancel the step that runs, if one does."""
        with self._lock:
            step = self._step
        if step is not None:
            step.cancel()

    def _place(self, name: str) -> Path:
        return self.plan.output.resolve() / name

    def _require(self, problem: str) -> None:
        if problem:
            raise OptionError(problem)
        if self._step is not None and self._step.status().state == RUNNING:
            raise OptionError("Another step is running: wait for it, or cancel it.")

    def _start_job(self, job: Job, done: Any) -> None:
        file = self._place(JOB)
        job.write(file)

        def ended(status: int) -> None:
            if status == 0:
                done()
            for left in (file, job.result):
                left.unlink(missing_ok=True)

        self._step = Step(job.step, [*self.plan.step_command, os.fspath(file)], ended)

    def _take_judged(self) -> None:
        values = {"key": self._judged_key, **_read(self._place(RESULT))}
        write_file(json.dumps(values).encode(), self._place(JUDGED))
        with self._lock:
            self._judged = values

    def _take_refined(self, kept_digest: str) -> None:
        values = {"kept_digest": kept_digest, "deployed": False, **_read(self._place(RESULT))}
        write_file(json.dumps(values).encode(), self._place(REFINED))
        with self._lock:
            self._refined = values

    def _take_deployed(self, status: int) -> None:
        with self._lock:
            if status == 0 and self._refined is not None:
                self._refined = {**self._refined, "deployed": True}
                write_file(json.dumps(self._refined).encode(), self._place(REFINED))

    def _read_judged(self) -> dict[str, Any] | None:
        values = _read_if_there(self._place(JUDGED))
        return values if values and values.get("key") == self._judged_key else None

    def _read_refined(self) -> dict[str, Any] | None:
        """Return what was refined before, if its bundle is still the one that was compared."""
        values = _read_if_there(self._place(REFINED))
        bundle = self._place(BUNDLE)
        if values is None or not bundle.is_file() or file_sha256(bundle) != values.get("new"):
            return None
        return values

    def _kept(self) -> list[str]:
        return [name for name in self.names if self._decisions.of(name) == KEEP]

    def _copy(self, names: Sequence[str]) -> list[str]:
        """Copy kept files to the output: a server may delete them, or an attacker change them."""
        folder = self._place(KEPT)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        copied = []
        for name in names:
            with contextlib.suppress(SamplesError):  # It is gone; the comparison says how many.
                (folder / name).write_bytes(read_file(self.plan.folder, name))
                copied.append(name)
        if not copied:
            raise OptionError("Nothing is kept: keep some files first.")
        return copied

    def _key(self) -> str:
        """Return what changes where the judgement would be another one."""
        parts: list[str] = [repr(self.plan.model), *self.names]
        for file in self._files_of_model():
            status = file.stat()
            parts += [str(file), str(status.st_size), str(status.st_mtime_ns)]
        return _digest(parts)

    def _files_of_model(self) -> Iterator[Path]:
        model = self.plan.model
        files = (
            ()
            if model is None
            else (model.archive, model.model_file, model.serialized_file, model.config_file)
        )
        for file in (*files, self.plan.bundle):
            if file is not None and file.exists():
                yield file

    def _excerpt(self, name: str) -> str:
        try:
            return excerpt(read_file(self.plan.folder, name))
        except SamplesError as error:
            return str(error)

    def _file(self, name: str, judged: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": name,
            "kind": kind_of(name),
            "text": self._texts.get(name, ""),
            "decision": self._decisions.of(name) or OPEN,
            "problem": judged["unreadable"].get(name, ""),
            **judged["files"].get(name, {}),
        }

    def _by_number(self, made: dict[str, str | None]) -> list[tuple[int, str]]:
        number = {name: i for i, name in enumerate(self.names)}
        # A file may be gone since it was decided of.
        return [(number[n], d or OPEN) for n, d in made.items() if n in number]


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return values


def _read_if_there(file: Path) -> dict[str, Any] | None:
    try:
        return _read(file)
    except (OSError, ValueError):
        return None
