"""Which archives a TorchServe loads when it starts: whether each is there, and signed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torchserve_fire.errors import FireError, SignatureError

from ..archive.any_archive import read_manifest
from ..archive.sign_archive import verify_archive

MOST_NAMED = 10
"""Archives that a message names at most."""

# Each may let TorchServe load what --models does not name.
OTHER_SOURCES = {"model_snapshot": "", "enable_envvars_config": "false"}


def check_archives(model_store: Path, models: Sequence[str]) -> None:
    """Refuse to load what is not there.

    Args:
        model_store: folder with the archives.
        models: of `--models`: `name=file.mar`, `file.mar`, or `ALL`.

    Raises:
        FireError: there is no such model store, or no such archive in it.
    """
    if not model_store.is_dir():
        raise FireError(f"{model_store}: no such folder, expected the model store: make it first")
    for model in models:
        archive = model.partition("=")[2] or model
        if archive.upper() != "ALL" and not (model_store / archive).exists():
            raise FireError(
                f"--models {model}: no such archive in {model_store}; {_there(model_store)}"
            )


def newer_archives(model_store: Path, models: Sequence[str]) -> list[str]:
    """Return lines that name newer versions of the archives to load, in the same model store.

    A swap or deploy puts them there: whoever names the first archive again brings back what it
    replaced.

    Args:
        model_store: folder with the archives.
        models: of `--models`.
    """
    lines = []
    for model in models:
        name, separator, file = model.rpartition("=")
        if file.upper() == "ALL":
            continue
        known = _name_and_version(model_store / file)
        if known is None:
            continue
        served = name if separator else known[0]
        newer = []
        for archive in sorted(model_store.glob("*.mar")):
            other = _name_and_version(archive)
            if other is None or _numbers(other[1]) <= _numbers(known[1]):
                continue
            if other[0] == served or archive.name == f"{served}-{other[1]}.mar":
                newer.append(archive.name)
        if newer:
            lines.append(
                f"--models {model}: version {known[1]}; the model store holds a newer one, too: "
                f"{', '.join(newer[:MOST_NAMED])}"
            )
    return lines


def _name_and_version(archive: Path) -> tuple[str, str] | None:
    """Return the model's name and the version in an archive's manifest, None where it has none."""
    try:
        model = read_manifest(archive)["model"]
    except FireError:
        return None
    return str(model.get("modelName")), str(model.get("modelVersion"))


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _there(model_store: Path) -> str:
    archives = sorted(path.name for path in model_store.glob("*.mar"))
    if not archives:
        return "there is none: make one with torchserve-fire package"
    more = len(archives) - MOST_NAMED
    listed = ", ".join(archives[:MOST_NAMED])
    return f"there are: {listed}" + (f" and {more} more" if more > 0 else "")


def check_models_to_load(
    model_store: Path,
    models: Sequence[str],
    settings: Mapping[str, str],
    trusted_keys: Sequence[str],
) -> None:
    """Refuse to load archives that none of the trusted keys has signed.

    It checks what is loaded at the start, not what is registered later, and as it is now: nobody
    else may write to the model store until the server has started.

    Args:
        model_store: folder with the archives.
        models: of `--models`: `name=file.mar`, `file.mar`, or `ALL`.
        settings: of the server.
        trusted_keys: public keys.

    Raises:
        SignatureError: an archive is not signed by any of them, or is none; or nothing is named,
            or the settings load others.
    """
    if not models:
        raise SignatureError(
            "--trusted-key: what is registered later is not checked, expected the archives to load "
            "(--models)"
        )
    for name, harmless in OTHER_SOURCES.items():
        if settings.get(name, harmless) != harmless:
            raise SignatureError(
                f"{name}={settings[name]}: loads archives that are not checked, expected no such "
                "setting beside --trusted-key"
            )
    for model in models:
        file = model.partition("=")[2] or model
        for archive in _visible(model_store) if file.upper() == "ALL" else [model_store / file]:
            if archive.is_dir():
                raise SignatureError(
                    f"{archive}: a folder, which may change while it is served, expected an "
                    "archive (.mar)"
                )
            verify_archive(archive, trusted_keys)


def _visible(model_store: Path) -> list[Path]:
    # As TorchServe does, which passes over hidden files.
    if not model_store.is_dir():
        raise SignatureError(f"{model_store}: no such folder, expected the model store")
    return sorted(path for path in model_store.iterdir() if not path.name.startswith("."))
