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
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.format.bundle_signature import check_bundle_signature, signature_path
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.format.write_file import write_files

from ...signing.signing_key import sign_files
from .management import Management, ModelVersion
from .server_errors import ServerError

AGREE_SECONDS = 60.0
POLL_SECONDS = 0.05
LATER_NS = 2_000_000_000
"""By how much a file is made the newest one: some file systems count in steps of two seconds."""

Said = Mapping[str, Any]
"""What a worker says of itself."""


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
    workers go by what they went by before.

    Args:
        management: the server.
        name: the model's name; it is about the default version.
        bundle: the new bundle. A signature beside it is put there, too.
        folder: the workers' folder, as this machine sees it; None: under the path that they name.
        report: called with a line for each step.
        signing_key: to sign the bundle with, in the place of the signature beside it.
        trusted_keys: public keys, one of which must have signed the bundle; none: it need not be.
        seconds: to wait at most until all workers go by it.

    Raises:
        FireError: a worker refuses it, or some do not go by it in that time; says which.
    """
    digest = load_bundle(bundle).digest
    if trusted_keys:
        check_bundle_signature(bundle, digest, trusted_keys)
    model = management.describe(name)
    before = _ask_all(management, model, lambda said: True, seconds)
    theirs = _folder_of(model, before)
    if folder is None:
        folder = theirs
        if not folder.is_dir():
            raise FireError(
                f"{folder}: no such folder on this machine, expected the one that the workers of "
                f"{name} look at: give --in-place FOLDER with where this machine has it"
            )
    put = _put(bundle, digest, folder, signing_key)
    report(f"{put.path} is there; waiting until all workers of {name} {model.version} go by it")
    file = put.path.name
    after = _ask_all(
        management,
        model,
        lambda said: said.get("bundle") == digest or _refusal(said, file) is not None,
        seconds,
    )
    reasons = {pid: reason for pid, said in after.items() if (reason := _refusal(said, file))}
    if reasons:
        raise FireError(_taken_away(management, model, put, before, reasons, seconds))
    others = [pid for pid, said in after.items() if said.get("bundle") != digest]
    if others:
        raise FireError(
            f"{name} {model.version}: {_workers(others)} did not say within {seconds:g} s that "
            f"{digest[:12]} serves; it stays in {folder}: are workers busy, or do they look at "
            f"another folder ({theirs} there)? torchserve-fire status shows who goes by what"
        )
    report(f"all workers of {name} {model.version} ({len(after)}) go by {digest[:12]} now")


def _folder_of(model: ModelVersion, answers: Mapping[int, Said]) -> Path:
    """Return the folder that the workers look at.

    Raises:
        FireError: they look at none, or none of them has answered.
    """
    folders = {said["bundle_folder"]["folder"] for said in answers.values() if _has_folder(said)}
    if not folders:
        raise FireError(
            f"{model.name} {model.version}: no worker says that it looks at a folder for bundles: "
            "name one in the archive's settings (handler: bundle_folder), and a mode other than "
            "off; or swap without --in-place"
        )
    return Path(str(folders.pop()))


def _has_folder(said: Said) -> bool:
    return isinstance(said.get("bundle_folder"), Mapping)


def _put(bundle: Path, digest: str, folder: Path, signing_key: Ed25519PrivateKey | None) -> Put:
    """Write a bundle and its signature, in one step each, so that it is the newest one there.

    Raises:
        FireError: the folder takes no file, or the bundle was changed meanwhile.
    """
    signature = signature_path(bundle)
    path = folder / f"bundle-{digest[:16]}{SUFFIX}"
    files = {}
    # First, since a bundle without it would be refused where keys are trusted.
    if signing_key is not None:
        files[signature_path(path)] = sign_files("bundle", {BUNDLE_FILE: digest}, signing_key)
    elif signature.is_file():
        files[signature_path(path)] = signature.read_bytes()
    files[path] = bundle.read_bytes()
    if file_sha256(bundle) != digest:
        raise FireError(f"{bundle}: was changed while it was read")
    before = path.stat().st_mtime_ns if path.exists() else None
    write_files(files)
    latest = max((f.state[0] for f in bundles_in(folder) if f.path != path), default=0)
    if path.stat().st_mtime_ns <= latest:
        # The clock of who put the other one there is ahead.
        os.utime(path, ns=(latest + LATER_NS, latest + LATER_NS))
    return Put(path, before)


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
    back = _ask_all(management, model, lambda said: said.get("bundle") in served, seconds)
    left = [pid for pid, said in back.items() if said.get("bundle") not in served]
    pid, reason = next(iter(reasons.items()))
    of = "" if len(reasons) == 1 else f" (and {len(reasons) - 1} more)"
    state = f"{_workers(left)} could not go back" if left else "all workers go by what they did"
    return f"{model.name} {model.version}: worker {pid}{of}: {reason}; taken away again, {state}"


def _ask_all(
    management: Management, model: ModelVersion, done: Callable[[Said], bool], seconds: float
) -> dict[int, Said]:
    """Ask a version's workers to describe themselves, until each has said what is waited for.

    TorchServe passes a question on to any of them. Each looks at its folder before it answers.

    Returns:
        What each has said last, by its process; of one that said nothing, nothing.
    """
    deadline = time.monotonic() + seconds
    answers: dict[int, Said] = {}
    while True:
        now = management.describe(model.name, model.version).workers
        workers = [pid for pid, ready in now.items() if ready]
        said = {pid: answers.get(pid, {}) for pid in workers}
        left = deadline - time.monotonic()
        if left <= 0 or (said and all(each and done(each) for each in said.values())):
            return said
        try:
            answer = management.answers_in_turn(model.name, model.version, left)
        except ServerError:
            return said
        if not isinstance(answer, dict) or "worker_pid" not in answer:
            return said
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
