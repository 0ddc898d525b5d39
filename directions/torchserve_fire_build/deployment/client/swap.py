"""Giving a running model another bundle, or mode, without losing a request."""

from __future__ import annotations

import filecmp
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.format.write_file import check_writable

from ...common.interrupts import interrupts_deferred
from ...signing.bundle_signature import check_bundle_signature
from ..archive.archive_name import archive_path, check_name
from ..archive.load_as_worker import Answer, Body, load_as_worker
from ..archive.next_archive import (
    Change,
    UnpackedArchive,
    check_packed_here,
    differ_only_in_change,
    must_be_signed,
    next_version,
    unpacked_with,
    version_of,
)
from .check_answers import check_predictions
from .drain import drain
from .management import Management, ModelVersion, ServerError
from .swap_lock import swap_lock

READY_SECONDS = 300.0
UNDO_SECONDS = 15.0
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Target:
    """The server on which a bundle is swapped.

    Attributes:
        management: its management API.
        inference: URL of its inference API.
        inference_token: token for that, None where it asks for none.
        model_store: its model store, as this machine sees it.
        ca: certificates of the authorities to trust over https; the public ones where None.
    """

    management: Management
    inference: str
    inference_token: str | None
    model_store: Path
    ca: Path | None = None


def swap_bundle(
    target: Target,
    name: str,
    bundle: Path | None,
    version: str | None = None,
    report: Callable[[str], None] = print,
    *,
    mode: str | None = None,
    signing_key: Ed25519PrivateKey | None = None,
    trusted_keys: Sequence[str] = (),
) -> str:
    """Make a model serve with another bundle, or in another mode, as a new version.

    The new archive is made from that of the default version. It is loaded here as a worker would
    load it, then registered, and its predictions must be those computed here. Then it becomes the
    default, and the old version is unregistered once it has answered what it received. Where a
    step before that fails, the new version and its file are removed, and the old version serves
    on. A swap that was cut off can be run again. Of two swaps at once, one is refused and changes
    nothing.

    Args:
        target: the server.
        name: the model's name.
        bundle: the new bundle; None: the same.
        version: the new version's number; the old one's with the last number increased where None.
        report: called with a line for each step.
        mode: the new mode of the handler; None: the same.
        signing_key: to sign the new archive with; needed where the old one is signed, or asks for
            it. The old one must be signed by this key or a trusted one.
        trusted_keys: public keys, one of which must have signed the bundle; where there are none,
            it need not be signed.

    Returns:
        The version that serves now.

    Raises:
        FireError: nothing was swapped, or the old version could not be unregistered; says which.
    """
    change = Change(bundle, mode)
    digest = None if bundle is None else load_bundle(bundle).digest
    if bundle is not None and digest is not None and trusted_keys:
        check_bundle_signature(bundle, digest, trusted_keys)
    if version is not None:
        check_name("version", version)
    # As a name of a file, it must not lead out of the model store.
    check_name("model name", name)
    # A wrong token or model store gets a message of its own, not that of the lock.
    _archive_of(target, target.management.describe(name))
    with swap_lock(target.model_store, name):
        # Asked again: another swap may have ended meanwhile.
        old = target.management.describe(name)
        archive = _archive_of(target, old)
        check_packed_here(archive)
        if version_of(archive) != old.version:
            raise FireError(
                f"{archive}: holds version {version_of(archive)}, the server has {old.version} as "
                "the default: is this the server's model store?"
            )
        if change.is_made_in(archive):
            what = " and ".join(["this bundle"] * (bundle is not None) + ["this mode"] * bool(mode))
            report(f"{name} {old.version} serves with {what} already")
            for left in _left_over(target, old, archive):
                _retire(target, left, report)
            _report_others(target, old.name, old.version, report)
            return old.version
        if signing_key is None and must_be_signed(archive):
            raise FireError(
                f"{archive}: is signed, or asks for it (handler: trusted_keys), so the next "
                "version must be, too: give --sign"
            )
        check_writable(archive_path(target.model_store, name, version or next_version(old.version)))
        with unpacked_with(archive, change, signing_key, trusted_keys) as unpacked:
            if digest not in (None, unpacked.digest):
                raise FireError(f"{bundle}: was changed while it was read")
            bodies, new_mode = unpacked.bodies(), unpacked.mode
            expected = load_as_worker(unpacked.folder, name, bodies)
            report("the next version loads, and answers here")
            version, file, is_new = _place(target, name, old, unpacked, version)
        report(f"registering {name} {version} ({file.name})")
        _put_into_service(target, old, version, file, is_new, bodies, expected)
        report(f"{name} {version} answers as it should and is the default now")
        if new_mode == "off":
            report("its mode is off: nothing is judged or repaired until swap --mode repair")
        _retire(target, old, report)
        _report_others(target, name, version, report)
        return version


def _archive_of(target: Target, model: ModelVersion) -> Path:
    path = target.model_store / PurePosixPath(model.archive).name
    if not path.is_file():
        raise FireError(
            f"{path}: no such file, expected the archive of {model.name} {model.version}: is "
            "--model-store the server's?"
        )
    return path


def _left_over(target: Target, current: ModelVersion, archive: Path) -> list[ModelVersion]:
    """Return the versions that an earlier swap to the current one did not get to unregister."""
    found = []
    for other in target.management.describe_all(current.name):
        path = target.model_store / PurePosixPath(other.archive).name
        if (
            other.version != current.version
            and any(character.isdigit() for character in other.version)
            and next_version(other.version) == current.version
            and path.is_file()
            and differ_only_in_change(path, archive)
        ):
            found.append(other)
    return found


def _place(
    target: Target, name: str, old: ModelVersion, unpacked: UnpackedArchive, wanted: str | None
) -> tuple[str, Path, bool]:
    """Write the new archive into the model store, under a version that nothing else has.

    Returns:
        Its version, its file, and whether it is new: a swap that was cut off may have left it.
    """
    version = wanted or next_version(old.version)
    while True:
        registered = {model.version for model in target.management.describe_all(name)}
        file = archive_path(target.model_store, name, version)
        if not file.exists() and version not in registered:
            for unfinished in target.model_store.glob(f".{file.name}.*.tmp"):
                # Of a swap that was killed while it wrote.
                unfinished.unlink(missing_ok=True)
            unpacked.write(version, file)
            return version, file, True
        if file.exists() and version != old.version:
            with tempfile.TemporaryDirectory(prefix="fire-swap-") as temporary:
                candidate = Path(temporary) / file.name
                unpacked.write(version, candidate)
                if filecmp.cmp(candidate, file, shallow=False):
                    return version, file, False
        if wanted is not None:
            places = [f"as {file}"] if file.exists() else []
            places += ["in the server"] if version in registered else []
            raise FireError(f"{name} {version}: exists already, {' and '.join(places)}")
        version = next_version(version)


def _put_into_service(
    target: Target,
    old: ModelVersion,
    version: str,
    file: Path,
    is_new: bool,
    bodies: list[Body],
    expected: list[Answer],
) -> None:
    """Register a version, see it answer, and make it the default; or undo all of it."""
    management, name = target.management, old.name
    try:
        if version not in {model.version for model in management.describe_all(name)}:
            # Cut off in the middle, it would go on in the server and could not be undone.
            with interrupts_deferred():
                management.register(
                    file.name,
                    name,
                    workers=max(old.min_workers, 1),
                    batch_size=old.batch_size,
                    max_batch_delay=old.max_batch_delay,
                    response_timeout=old.response_timeout,
                    startup_timeout=old.startup_timeout,
                )
        new = management.describe(name, version)
        wanted = (max(old.min_workers, 1), max(old.max_workers, 1))
        # minWorkers in the archive's configuration stand above what is asked for at registering.
        if (new.min_workers, new.max_workers) != wanted:
            management.scale(name, version, *wanted, timeout=old.startup_timeout + 60)
        _wait_until_ready(management, name, version)
        url = f"{target.inference.rstrip('/')}/predictions/{name}/{version}"
        check_predictions(url, target.inference_token, bodies, expected, target.ca)
        management.set_default(name, version)
    except BaseException as error:
        with interrupts_deferred():
            undone = _undo(management, old, version)
            if undone and is_new:
                file.unlink(missing_ok=True)
        if isinstance(error, FireError):
            state = (
                f"{name} {old.version} serves on"
                if undone
                else f"{name} {version} could not be removed: look at the server"
            )
            raise FireError(f"{error}; nothing was swapped, {state}") from error
        raise


def _wait_until_ready(management: Management, name: str, version: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not management.describe(name, version).ready:
        if time.monotonic() > deadline:
            raise FireError(f"{name} {version}: its workers are not ready")
        time.sleep(POLL_SECONDS)


def _undo(management: Management, old: ModelVersion, version: str) -> bool:
    """Make the old version the default again and take the new one away; return whether it is."""
    deadline = time.monotonic() + UNDO_SECONDS
    while True:
        try:
            if management.describe(old.name).version == version:
                management.set_default(old.name, old.version)
            if version not in {model.version for model in management.describe_all(old.name)}:
                return True
            management.unregister(old.name, version)
        except ServerError:
            # Registering may still be under way in the server, or the server be gone.
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)


def _retire(target: Target, old: ModelVersion, report: Callable[[str], None]) -> None:
    """Unregister a version that is no longer the default, when it has answered everything."""
    report(f"waiting until {old.name} {old.version} has answered what it received")
    try:
        drain(target.management, old, timeout=2 * old.response_timeout + 30)
        target.management.unregister(old.name, old.version)
    except FireError as error:
        raise FireError(
            f"the new version serves, but {old.name} {old.version} is still registered: {error}; "
            "run the same swap again to finish it"
        ) from error
    report(f"{old.name} {old.version} is unregistered; its archive stays in the model store")


def _report_others(target: Target, name: str, version: str, report: Callable[[str], None]) -> None:
    # A swap to another bundle, or with --version, may have been cut off before this one.
    for other in target.management.describe_all(name):
        if other.version != version:
            report(f"{name} {other.version} is registered, too, for requests that name it")
