"""Putting an archive into service in the place of what is served, whoever packed either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import torch

from torchserve_fire.core.unpack import unpack
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import BUNDLE_FILE

from ..archive.any_archive import (
    copy_as,
    is_signed,
    read_member,
    refuse_another_model,
    same_but_for_version,
    version_of_manifest,
)
from ..archive.archive_name import check_name
from ..archive.load_as_worker import CPU, Answer, Body, try_as_worker
from ..archive.next_archive import next_version
from ..archive.trial_bodies import bodies_of_file, candidate_bodies
from .check_answers import in_common
from .management import Management, ModelVersion
from .rollout import Target, archive_of, place, put_into_service, retire_replaced
from .server_errors import ServerError
from .swap_lock import swap_lock
from .tried_by import without_flagged

MOST_TAKEN = 1000
"""Versions in a row that may be taken by other archives."""

MOST_NAMED = 10
"""Served models that a message names at most."""

SETTINGS = ("batch_size", "max_batch_delay", "response_timeout", "startup_timeout")


def deploy_archive(
    target: Target,
    name: str,
    archive: Path,
    version: str | None = None,
    report: Callable[[str], None] = print,
    *,
    example: Path | None = None,
    new: bool = False,
    device: torch.device = CPU,
    on_default: Callable[[], None] | None = None,
) -> str:
    """Serve an archive under a model's name in the place of what is served there, if anything is.

    Where other models are served and none under this name, the name may be mistyped, and clients
    would go on getting the old answers: then it is refused, unless the model is said to be new.

    The archive is loaded here as a worker would load it, and answers requests. Then it is put into
    the model store and registered with the settings of the served version, and what the server
    answers must be what was answered here. Then it becomes the default, and the old version is
    unregistered once it has answered what it received. Where a step before that fails, the new
    version and its file are removed, and the old version serves on. A run that was cut off can be
    started again. Of two at once, one is refused and changes nothing.

    Args:
        target: the server.
        name: the model's name.
        archive: the `.mar`.
        version: to serve it under; where None, that of its manifest, or the next one that is free.
        report: called with a line for each step.
        example: the body of a request; where None, the example that the archive names, or the old
            one, else random inputs.
        new: whether the model is not served yet.
        device: that the archive is tried on here.
        on_default: called once the archive is the default, before the old version is drained, which
            takes minutes; nothing is undone after it.

    Returns:
        The version that serves now.

    Raises:
        FireError: nothing was changed, or the old version could not be unregistered; says which.
    """
    # As a name of a file, it must not lead out of the model store.
    check_name("model name", name)
    own = version_of_manifest(archive)
    check_name("version", version or own)
    signed = is_signed(archive)
    if signed and version not in (None, own):
        raise FireError(
            f"--version {version}: {archive} is signed as version {own}: leave --version out, or "
            "package and sign it as that version"
        )
    given = None if example is None else bodies_of_file(example)
    target.management.check_model_api()
    with swap_lock(target.model_store, name):
        old = default_version(target.management, name)
        if old is None and not new:
            _refuse_unknown_name(target.management, name)
        served = None if old is None else archive_of(target, old)
        if (
            old is not None
            and served is not None
            and old.version in ([version] if version else _versions_from(own))
            and same_but_for_version(archive, served)
        ):
            report(f"{name} {old.version} serves this archive already")
            if on_default is not None:
                on_default()
            retire_replaced(target, name, report)
            return old.version
        if new and old is not None:
            raise FireError(
                f"--new: {name} {old.version} is served already; leave --new out to replace it"
            )
        if served is not None:
            refuse_another_model(archive, served, name)
        groups = given or candidate_bodies([archive] if served is None else [archive, served])
        bodies, expected = _answered(archive, name, groups, example, device)
        report(f"{archive.name} loads, and answers here")
        bodies, expected = without_flagged(bodies, expected, report)
        first = version or own
        if old is not None and version is None and not signed and first == old.version:
            first = next_version(first)
        exactly = version is not None or signed

        def write(number: str, file: Path) -> None:
            copy_as(archive, number, file)

        placed = place(target, name, old, first, write, exactly=exactly)
        if placed.version not in (own, version):
            report(f"its version {own} is taken: it becomes {placed.version}")
        if placed.is_new and archive.resolve().parent == target.model_store.resolve():
            report(
                f"{archive.name} is copied to {placed.file.name}: the archive of a version is kept "
                "under its name and number"
            )
        report(f"registering {name} {placed.version} ({placed.file.name})")
        put_into_service(target, name, old, placed, bodies, expected)
        report(f"{name} {placed.version} answers as it should and is the default now")
        if on_default is not None:
            on_default()
        if old is None:
            workers = target.management.describe(name).min_workers
            report(
                f"registered with {workers} worker{'s' * (workers != 1)}: nothing was served to "
                "take settings from"
            )
        _report_differences(target, name, old, placed.version, report)
        if served is not None and _has_bundle(served) and not _has_bundle(archive):
            report(
                f"{name} {placed.version} holds no bundle: nothing is judged or repaired any more"
            )
        retire_replaced(target, name, report)
        return placed.version


def default_version(management: Management, name: str) -> ModelVersion | None:
    """Return the version that requests get, None where nothing is served under a name."""
    try:
        return management.describe(name)
    except ServerError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None


def _refuse_unknown_name(management: Management, name: str) -> None:
    """Refuse a name under which nothing is served, where other models are."""
    served = sorted(management.models())
    if not served:
        return
    more = len(served) - MOST_NAMED
    listed = ", ".join(served[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    raise FireError(
        f"--model-name {name}: nothing is served as {name} (served: {listed}), and nothing was "
        "changed: give the name of the model to replace, or --new to serve this one beside it"
    )


def _versions_from(own: str) -> list[str]:
    """Return the versions that an archive may have got, since others before them were taken."""
    versions = [own]
    while len(versions) < MOST_TAKEN and any(character.isdigit() for character in own):
        versions.append(next_version(versions[-1]))
    return versions


def _answered(
    archive: Path,
    name: str,
    groups: Sequence[Sequence[Body]],
    example: Path | None,
    device: torch.device,
) -> tuple[list[Body], list[Answer]]:
    """Return the bodies of the first group that the archive answers, and what it answers."""
    # Each twice: a time of day or the like in an answer is not what is compared.
    asked = [body for group in groups for body in group for _ in range(2)]
    unpacked = unpack(archive)
    answers = iter(try_as_worker(unpacked.folder, name, asked, device=device, as_server=True))
    said = ""
    for group in groups:
        triples = [(body, next(answers), next(answers)) for body in group]
        good = [
            (body, replace(first, body=in_common(first.body, second.body)))
            for body, first, second in triples
            if _is_good(first) and _is_good(second)
        ]
        if good:
            return [body for body, _ in good], [answer for _, answer in good]
        said = said or _short(triples[0][1])
    if example is not None:
        raise FireError(
            f"--example {example}: {archive.name} does not answer it, expected a request as "
            f"clients send it: {said}"
        )
    raise FireError(
        f"{archive}: answers no random image ({said}): give --example with the body of a request "
        "as clients send it"
    )


def _is_good(answer: Answer) -> bool:
    if answer.error is not None:
        return False
    # Mode `reject` refuses what it flags, which a random input may be.
    return answer.status < 300 or answer.headers.get("x-fire-flagged") == "true"


def _short(answer: Answer) -> str:
    said = answer.error or f"status {answer.status}: {answer.body}"
    return " ".join(said.split())[:200]


def _has_bundle(archive: Path) -> bool:
    return read_member(archive, BUNDLE_FILE) is not None


def _report_differences(
    target: Target,
    name: str,
    old: ModelVersion | None,
    version: str,
    report: Callable[[str], None],
) -> None:
    """Say which settings of the old version the new archive's own configuration overrules."""
    if old is None:
        return
    new = target.management.describe(name, version)
    different = [
        f"{setting} {getattr(new, setting)} instead of {getattr(old, setting)}"
        for setting in SETTINGS
        if getattr(new, setting) != getattr(old, setting)
    ]
    if different:
        report(f"its own configuration sets {', '.join(different)}")
