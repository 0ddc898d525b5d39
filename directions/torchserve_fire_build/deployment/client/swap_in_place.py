"""Putting a bundle into the folder that a model's workers look at, and seeing all of them take it.

No version is registered, and no worker started: the server's model API may be off.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from torchserve_fire.core.bundle_folder import SUFFIX, bundles_in
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import BUNDLE_FILE, parse_bundle, read_bundle_bytes
from torchserve_fire.format.bundle_signature import check_bundle_signature, signature_path
from torchserve_fire.format.signature import read_signature
from torchserve_fire.format.write_file import write_files

from ...signing.signing_key import sign_files
from ..archive.archive_name import check_name
from .management import Management, ModelVersion
from .server_errors import ServerError
from .swap_lock import swap_lock

AGREE_SECONDS = 60.0
POLL_SECONDS = 0.05
QUESTIONS = 4
"""At least as many are asked before workers are said to be silent."""
LATER_NS = 2_000_000_000
"""By how much a file is made the newest one: some file systems count in steps of two seconds."""

Said = Mapping[str, Any]
"""What a worker says of itself."""


@dataclass(frozen=True)
class New:
    """A bundle that is to be put into the folder.

    Attributes:
        data: its file's bytes.
        digest: SHA-256 of these.
        signature: what goes beside it; None where it is not signed.
    """

    data: bytes
    digest: str
    signature: bytes | None


@dataclass(frozen=True)
class Put:
    """A bundle in the folder.

    Attributes:
        path: its file.
        before: when that was written, in nanoseconds, where it lay there before.
    """

    path: Path
    before: int | None


def swap_in_place(
    management: Management,
    name: str,
    bundle: Path,
    folder: Path | None = None,
    report: Callable[[str], None] = print,
    *,
    signing_key: Ed25519PrivateKey | None = None,
    trusted_keys: Sequence[str] = (),
    seconds: float = AGREE_SECONDS,
) -> None:
    """Put a bundle where a model's workers look for the newest one, and wait until all go by it.

    It comes into the folder in one step. Where a worker refuses it, it is taken away again, and the
    workers go by what they went by before. Of two swaps at once, one is refused and changes
    nothing. So is one while a worker does not answer.

    Args:
        management: the server.
        name: the model's name; it is about the default version.
        bundle: the new bundle. A signature beside it is put there, too.
        folder: the workers' folder, as this machine sees it; None: under the path that they name.
        report: called with a line for each step.
        signing_key: to sign the bundle with, in the place of the signature beside it.
        trusted_keys: public keys, one of which must have signed the bundle; none: it need not be.
        seconds: to wait at most until all workers have answered, and again until all go by it.

    Raises:
        FireError: a worker refuses it, or some do not answer, or do not go by it, in that time;
            says which, and what was done.
    """
    new = _read(bundle, signing_key, trusted_keys)
    # As a name of a file, it must not lead out of the folder.
    check_name("model name", name)
    model = management.describe(name)
    theirs = _folder_of(management, model, seconds)
    if folder is None:
        folder = theirs
        if not folder.is_dir():
            raise FireError(
                f"{folder}: no such folder on this machine, expected the one that the workers of "
                f"{name} look at: give --in-place FOLDER with where this machine has it"
            )
    with swap_lock(folder, name):
        # Asked now: another swap may have ended meanwhile.
        before = _ask(management, model, lambda said: all(said.values()), seconds)
        silent = [pid for pid, said in before.items() if not said]
        if silent:
            raise FireError(
                f"{_silent(model, silent, seconds)}; nothing was put into {folder}: try again later"
            )
        put = _put(new, folder)
        report(f"{put.path} is there; waiting until all workers of {name} {model.version} go by it")
        try:
            after = _ask(management, model, lambda said: _decided(said, new, put), seconds)
        except ServerError as error:
            raise FireError(
                f"{error}; {put.path} stays there, and workers that live go by it: "
                "torchserve-fire status shows who goes by what"
            ) from None
        reasons = {
            pid: reason
            for pid, said in after.items()
            if (reason := _refusal(said, put.path.name)) is not None
        }
        if reasons:
            raise FireError(_taken_away(management, model, put, before, reasons, seconds))
        others = [pid for pid, said in after.items() if said.get("bundle") != new.digest]
        if others:
            raise FireError(_not_yet(model, others, after, put, theirs, seconds))
    report(f"all workers of {name} {model.version} ({len(after)}) go by {new.digest[:12]} now")


def _read(bundle: Path, signing_key: Ed25519PrivateKey | None, trusted_keys: Sequence[str]) -> New:
    """Read a bundle, and its signature, once: what is checked is what is put into the folder.

    Raises:
        FireError: it cannot be read, or is not signed by any of the keys.
    """
    data = read_bundle_bytes(bundle)
    digest = parse_bundle(data, bundle.name).digest
    if trusted_keys:
        check_bundle_signature(bundle, digest, trusted_keys)
    signature = None
    if signing_key is not None:
        signature = sign_files("bundle", {BUNDLE_FILE: digest}, signing_key)
    elif signature_path(bundle).is_file():
        signature = read_signature(signature_path(bundle))
    return New(data, digest, signature)


def _folder_of(management: Management, model: ModelVersion, seconds: float) -> Path:
    """Return the folder that the workers look at.

    Raises:
        FireError: they look at none, or none of them has answered.
    """
    answers = _ask(management, model, lambda said: any(said.values()), seconds)
    if not any(answers.values()):
        raise FireError(f"{_silent(model, list(answers), seconds)}; nothing was changed")
    folders = {said["bundle_folder"]["folder"] for said in answers.values() if _has_folder(said)}
    if not folders:
        raise FireError(_looks_nowhere(model))
    return Path(str(folders.pop()))


def _looks_nowhere(model: ModelVersion) -> str:
    return (
        f"{model.name} {model.version}: no worker says that it looks at a folder for bundles: "
        "name one in the archive's settings (handler: bundle_folder), and a mode other than "
        "off; or swap without --in-place"
    )


def _has_folder(said: Said) -> bool:
    return isinstance(said.get("bundle_folder"), Mapping)


def _put(new: New, folder: Path) -> Put:
    """Write a bundle and its signature, in one step each, so that it is the newest one there.

    Raises:
        FireError: the folder takes no file.
    """
    path = folder / f"bundle-{new.digest[:16]}{SUFFIX}"
    files = {}
    # First, since a bundle without it would be refused where keys are trusted.
    if new.signature is not None:
        files[signature_path(path)] = new.signature
    files[path] = new.data
    before = path.stat().st_mtime_ns if path.exists() else None
    write_files(files)
    latest = max((f.state[0] for f in bundles_in(folder) if f.path != path), default=0)
    if path.stat().st_mtime_ns <= latest:
        # The clock of who put the other one there is ahead.
        os.utime(path, ns=(latest + LATER_NS, latest + LATER_NS))
    return Put(path, before)


def _decided(answers: Mapping[int, Said], new: New, put: Put) -> bool:
    """Whether each worker goes by the new bundle, or refuses it."""
    return all(
        said.get("bundle") == new.digest or _refusal(said, put.path.name) is not None
        for said in answers.values()
    )


def _silent(model: ModelVersion, pids: Sequence[int], seconds: float) -> str:
    """Say which workers do not answer, and what becomes of them."""
    if not pids:
        return f"{model.name} {model.version}: no worker was ready within {seconds:g} s"
    return (
        f"{model.name} {model.version}: {_workers(pids)} did not answer within {seconds:g} s: a "
        "batch that does not end? TorchServe restarts a worker that answers nothing for "
        f"{model.response_timeout} s (responseTimeout)"
    )


def _not_yet(
    model: ModelVersion,
    others: Sequence[int],
    after: Mapping[int, Said],
    put: Put,
    theirs: Path,
    seconds: float,
) -> str:
    """Say which workers do not go by a bundle that was put into the folder, and how it goes on."""
    silent = [pid for pid in others if not after[pid]]
    if silent:
        agree = len(after) - len(others)
        return (
            f"{_silent(model, silent, seconds)}; {put.path} stays there: {agree} of {len(after)} "
            "workers go by it already, the others take it before their next batch or when they are "
            "restarted; torchserve-fire status shows who goes by what"
        )
    return (
        f"{model.name} {model.version}: {_workers(others)} did not say within {seconds:g} s that "
        f"{put.path.name} serves; it stays in {put.path.parent}: do they look at another folder "
        f"({theirs} there)? torchserve-fire status shows who goes by what"
    )


def _taken_away(
    management: Management,
    model: ModelVersion,
    put: Put,
    before: Mapping[int, Said],
    reasons: Mapping[int, str],
    seconds: float,
) -> str:
    """Undo what was put into the folder; return what to say of it."""
    if put.before is None:
        put.path.unlink(missing_ok=True)
        signature_path(put.path).unlink(missing_ok=True)
    else:
        os.utime(put.path, ns=(put.before, put.before))
    served = {said.get("bundle") for said in before.values()}
    try:
        back = _ask(
            management,
            model,
            lambda answers: all(said.get("bundle") in served for said in answers.values()),
            seconds,
        )
    except ServerError as error:
        return f"{model.name} {model.version}: refused, and taken away again; then: {error}"
    left = [pid for pid, said in back.items() if said.get("bundle") not in served]
    pid, reason = next(iter(reasons.items()))
    of = "" if len(reasons) == 1 else f" (and {len(reasons) - 1} more)"
    state = f"{_workers(left)} could not go back" if left else "all workers go by what they did"
    return f"{model.name} {model.version}: worker {pid}{of}: {reason}; taken away again, {state}"


def _ask(
    management: Management,
    model: ModelVersion,
    done: Callable[[Mapping[int, Said]], bool],
    seconds: float,
) -> dict[int, Said]:
    """Ask a version's workers to describe themselves, until they have said what is waited for.

    TorchServe passes a question on to any of them. Each looks at its folder before it answers.

    Returns:
        What each has said last, by its process; of one that said nothing, nothing.

    Raises:
        ServerError: the server does not answer, or has no worker to ask.
        FireError: the handler does not describe itself as this project's do.
    """
    deadline = time.monotonic() + seconds
    answers: dict[int, Said] = {}
    while True:
        now = management.describe(model.name, model.version).workers
        workers = [pid for pid, ready in now.items() if ready]
        said = {pid: answers.get(pid, {}) for pid in workers}
        left = deadline - time.monotonic()
        if left <= 0 or (said and done(said)):
            return said
        # Where one worker has taken a question and is silent, another may answer the next.
        patience = min(left, seconds / QUESTIONS)
        asked = time.monotonic()
        try:
            answer = management.answers_in_turn(model.name, model.version, patience)
        except ServerError:
            if time.monotonic() - asked < patience:
                raise
            continue
        if not isinstance(answer, dict) or "worker_pid" not in answer:
            raise FireError(_looks_nowhere(model))
        pid = int(answer["worker_pid"])
        if pid in answers:
            time.sleep(POLL_SECONDS)
        answers[pid] = answer


def _refusal(said: Said, file: str) -> str | None:
    """Return why a worker refuses a file; None where it does not."""
    refused = said["bundle_folder"].get("refused") if _has_folder(said) else None
    if not isinstance(refused, Mapping) or refused.get("file") != file:
        return None
    return str(refused.get("reason"))


def _workers(pids: Sequence[int]) -> str:
    return ("worker " if len(pids) == 1 else "workers ") + ", ".join(map(str, pids))
