"""Putting a version of a model into service in the place of another, without losing a request."""

from __future__ import annotations

import filecmp
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from torchserve_fire.errors import FireError

from ...common.interrupts import interrupts_deferred
from ..archive.archive_name import archive_path
from ..archive.load_as_worker import Answer, Body
from ..archive.next_archive import next_version
from .check_answers import check_predictions
from .drain import drain
from .management import Management, ModelVersion
from .replaced_versions import read_replaced, write_replaced
from .server_errors import ServerError
from .tokens import Token

READY_SECONDS = 300.0
UNDO_SECONDS = 15.0
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Target:
    """The server on which a model gets another version.

    Attributes:
        management: its management API.
        inference: URL of its inference API.
        inference_token: token for that.
        model_store: its model store, as this machine sees it.
        ca: certificates of the authorities to trust over https; the public ones where None.
    """

    management: Management
    inference: str
    inference_token: Token
    model_store: Path
    ca: Path | None = None


@dataclass(frozen=True)
class Placed:
    """A version whose archive lies in the model store.

    Attributes:
        version: the version.
        file: its archive.
        is_new: whether this run has written it: one that was cut off may have left it.
    """

    version: str
    file: Path
    is_new: bool


def archive_of(target: Target, model: ModelVersion) -> Path:
    """Return the archive of a served version.

    Raises:
        FireError: it is not in the model store.
    """
    path = target.model_store / PurePosixPath(model.archive).name
    if not path.exists():
        raise FireError(
            f"{path}: no such file, expected the archive of {model.name} {model.version}: is "
            "--model-store the server's?"
        )
    return path


def place(
    target: Target,
    name: str,
    old: ModelVersion | None,
    first: str,
    write: Callable[[str, Path], None],
    *,
    exactly: bool,
) -> Placed:
    """Write a new archive into the model store, under a version that nothing else has.

    Args:
        target: the server.
        name: the model's name.
        old: the version that serves, None where none does.
        first: the version that it should have.
        write: writes the archive of a version to a file, always the same bytes.
        exactly: whether it must be `first`; else the next free one is taken.

    Raises:
        FireError: `first` is taken, and must be taken.
    """
    version = first
    while True:
        registered = {model.version for model in registered_versions(target.management, name)}
        file = archive_path(target.model_store, name, version)
        if not file.exists() and version not in registered:
            for unfinished in target.model_store.glob(f".{file.name}.*.tmp"):
                # Of a run that was killed while it wrote.
                unfinished.unlink(missing_ok=True)
            write(version, file)
            return Placed(version, file, is_new=True)
        if file.exists() and (old is None or version != old.version):
            with tempfile.TemporaryDirectory(prefix="fire-rollout-") as temporary:
                candidate = Path(temporary) / file.name
                write(version, candidate)
                if filecmp.cmp(candidate, file, shallow=False):
                    return Placed(version, file, is_new=False)
        if exactly:
            places = [f"as {file}"] if file.exists() else []
            places += ["in the server"] if version in registered else []
            raise FireError(f"{name} {version}: exists already, {' and '.join(places)}")
        version = next_version(version)


def registered_versions(management: Management, name: str) -> list[ModelVersion]:
    """Return every registered version of a model, none where nothing is served under its name."""
    try:
        return management.describe_all(name)
    except ServerError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return []


def put_into_service(
    target: Target,
    name: str,
    old: ModelVersion | None,
    new: Placed,
    bodies: Sequence[Body],
    expected: Sequence[Answer],
) -> None:
    """Register a version, see it answer, and make it the default; or undo all of it.

    It gets the settings of the old version, and its number of workers. Where there is no old
    version, it gets those that its archive's configuration names.

    Raises:
        FireError: nothing was changed, or what could not be undone.
    """
    management = target.management
    before = read_replaced(target.model_store, name)
    try:
        if new.version not in {model.version for model in registered_versions(management, name)}:
            # Cut off in the middle, it would go on in the server and could not be undone.
            with interrupts_deferred():
                _register(management, name, old, new.file)
        if old is not None:
            _give_workers(management, old, new.version)
        _wait_until_ready(management, name, new.version)
        url = f"{target.inference.rstrip('/')}/predictions/{quote(name)}/{quote(new.version)}"
        check_predictions(url, target.inference_token, bodies, expected, target.ca)
        if old is not None:
            replaced = {*before, old.version} - {new.version}
            write_replaced(target.model_store, name, sorted(replaced))
            management.set_default(name, new.version)
    except BaseException as error:
        with interrupts_deferred():
            undone = _undo(management, name, old, new.version)
            if undone:
                write_replaced(target.model_store, name, before)
            if undone and new.is_new:
                new.file.unlink(missing_ok=True)
        if not undone:
            state = f"{name} {new.version} could not be removed: look at the server"
        elif old is None:
            state = f"nothing was changed, nothing is served as {name}"
        else:
            state = f"nothing was changed, {name} {old.version} serves on"
        if isinstance(error, FireError):
            raise FireError(f"{error}; {state}") from error
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(state) from error
        raise


def retire_replaced(target: Target, name: str, report: Callable[[str], None]) -> None:
    """Unregister the versions that were replaced, each when it has answered everything.

    Raises:
        FireError: one is still registered.
    """
    management = target.management
    default = management.describe(name).version
    registered = {model.version: model for model in management.describe_all(name)}
    left = [version for version in read_replaced(target.model_store, name) if version != default]
    for version in left:
        if version in registered:
            _retire(management, registered[version], report)
    write_replaced(target.model_store, name, [])
    for other in registered:
        if other not in (default, *left):
            report(f"{name} {other} is registered, too, for requests that name it")


def _register(management: Management, name: str, old: ModelVersion | None, file: Path) -> None:
    if old is None:
        management.register(file.name, name)
        return
    management.register(
        file.name,
        name,
        workers=max(old.min_workers, 1),
        batch_size=old.batch_size,
        max_batch_delay=old.max_batch_delay,
        response_timeout=old.response_timeout,
        startup_timeout=old.startup_timeout,
    )


def _give_workers(management: Management, old: ModelVersion, version: str) -> None:
    new = management.describe(old.name, version)
    wanted = (max(old.min_workers, 1), max(old.max_workers, 1))
    # minWorkers in the archive's configuration stand above what is asked for at registering.
    if (new.min_workers, new.max_workers) != wanted:
        management.scale(old.name, version, *wanted, timeout=old.startup_timeout + 60)


def _wait_until_ready(management: Management, name: str, version: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not management.describe(name, version).ready:
        if time.monotonic() > deadline:
            raise FireError(f"{name} {version}: its workers are not ready")
        time.sleep(POLL_SECONDS)


def _undo(management: Management, name: str, old: ModelVersion | None, version: str) -> bool:
    """Make the old version the default again and take the new one away; return whether it is."""
    deadline = time.monotonic() + UNDO_SECONDS
    while True:
        try:
            if old is not None and management.describe(name).version == version:
                management.set_default(name, old.version)
            if version not in {model.version for model in registered_versions(management, name)}:
                return True
            management.unregister(name, version)
        except ServerError:
            # Registering may still be under way in the server, or the server be gone.
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)


def _retire(management: Management, old: ModelVersion, report: Callable[[str], None]) -> None:
    report(f"waiting until {old.name} {old.version} has answered what it received")
    try:
        drain(management, old, timeout=2 * old.response_timeout + 30, report=report)
        management.unregister(old.name, old.version)
    except FireError as error:
        raise FireError(
            f"the new version serves, but {old.name} {old.version} is still registered: {error}; "
            "run the same command again to finish it"
        ) from error
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"the new version serves, but {old.name} {old.version} is still registered; run the "
            "same command again to finish it"
        ) from error
    report(f"{old.name} {old.version} is unregistered; its archive stays in the model store")
