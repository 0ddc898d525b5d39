"""An archive's successor: the same files with another version, and another bundle or mode."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from torchserve_fire.core.archive_signature import SIGNATURE_FILE, check_archive_folder
from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.errors import FireError, SignatureError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.format.signature import is_of_version_1, read_signature
from torchserve_fire.model.config import SETTINGS_FILE, HandlerConfig, load_config

from ...signing.signing_key import public_key_of
from .load_as_worker import Body, content_type
from .random_bodies import random_bodies
from .reproducible_zip import write_reproducibly
from .sign_archive import sign_folder


@dataclass(frozen=True)
class Change:
    """What is different in the next version of an archive.

    Attributes:
        bundle: another bundle; None: the same.
        mode: another mode of the handler; None: the same.
    """

    bundle: Path | None = None
    mode: str | None = None

    def is_made_in(self, archive: Path) -> bool:
        """Whether an archive has this bundle and this mode already."""
        with _some_files_of(archive) as (folder, config):
            bundle = self.bundle and load_bundle(self.bundle).digest
            return bundle in (None, load_bundle(folder / BUNDLE_FILE).digest) and self.mode in (
                None,
                load_config(config).mode,
            )


@dataclass(frozen=True)
class UnpackedArchive:
    """An archive with a change made in it, unpacked.

    Attributes:
        folder: where.
        digest: SHA-256 of its bundle's file.
        input: what its model takes.
        signing_key: what it is signed with, None where it is not signed.
    """

    folder: Path
    digest: str
    input: InputDescription
    signing_key: Ed25519PrivateKey | None = None

    @property
    def mode(self) -> str:
        """What its handler does with flagged requests."""
        return load_config(config_of(self.folder)).mode

    def bodies(self) -> list[Body]:
        """Return requests to try it with: its example, where it names one, else random inputs."""
        example = load_config(config_of(self.folder)).example
        if example is None:
            return random_bodies(self.input)
        return [Body((self.folder / example).read_bytes(), content_type(example))]

    def write(self, version: str, target: Path) -> None:
        """Write it as an archive of a version."""
        manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        manifest["model"]["modelVersion"] = version
        (self.folder / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        if self.signing_key is not None:
            sign_folder(self.folder, self.signing_key)
        with tempfile.TemporaryDirectory(prefix="fire-swap-") as temporary:
            packed = Path(temporary) / target.name
            with zipfile.ZipFile(packed, "w") as archive:
                for path in sorted(self.folder.rglob("*")):
                    if path.is_file():
                        archive.write(path, path.relative_to(self.folder).as_posix())
            write_reproducibly(packed, target)


@contextmanager
def unpacked_with(
    archive: Path,
    change: Change,
    signing_key: Ed25519PrivateKey | None = None,
    trusted_keys: Sequence[str] = (),
) -> Iterator[UnpackedArchive]:
    """Unpack an archive into a temporary folder, and make a change in it.

    Args:
        archive: the archive.
        change: what is to be different.
        signing_key: to sign the new archive with. Then the old one must be signed, too: else a
            file that somebody changed in it would be signed as well.
        trusted_keys: public keys that may have signed the old one, besides that of `signing_key`.

    Raises:
        FireError: the archive or the bundle cannot be read, or it was not packed by this project,
            or is not signed by one of these keys.
    """
    check_packed_here(archive)
    with tempfile.TemporaryDirectory(prefix="fire-swap-") as temporary:
        folder = Path(temporary)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        if signing_key is not None:
            check_signed(folder, archive, [public_key_of(signing_key), *trusted_keys])
        if change.bundle is not None:
            # The bytes that are checked are those that are packed.
            (folder / BUNDLE_FILE).write_bytes(change.bundle.read_bytes())
        if change.mode is not None:
            set_mode(config_of(folder), change.mode)
        described = load_bundle(folder / BUNDLE_FILE)
        if signing_key is not None:
            sign_folder(folder, signing_key)
        yield UnpackedArchive(folder, described.digest, described.input, signing_key)


def must_be_signed(archive: Path) -> bool:
    """Whether an archive is signed, or its configuration asks for a signature."""
    with zipfile.ZipFile(archive) as packed:
        if SIGNATURE_FILE in packed.namelist():
            return True
    with _some_files_of(archive) as (_, config):
        return bool(load_config(config).trusted_keys)


def bundle_folder_of(archive: Path) -> Path | None:
    """Return the folder from which an archive's workers take bundles, None without one."""
    return settings_of(archive).bundle_folder


def settings_of(archive: Path) -> HandlerConfig:
    """Return the settings of the repair in an archive of this project.

    Raises:
        ConfigError: they are wrong.
    """
    with _some_files_of(archive) as (_, config):
        return load_config(config)


def check_signed(folder: Path, archive: Path, trusted_keys: Sequence[str]) -> None:
    """Refuse to sign anew what is not, to the byte, what a trusted key has signed.

    Args:
        folder: of the unpacked archive.
        archive: its file, for messages.
        trusted_keys: public keys.

    Raises:
        SignatureError: it is not.
    """
    try:
        check_archive_folder(folder, trusted_keys)
    except SignatureError as error:
        raise SignatureError(
            f"{archive}: {error}; an archive that is not as a trusted key has signed it gets no "
            "new signature: package the model with --sign"
        ) from None
    # The handler in the archive is as old as its signature.
    if is_of_version_1(read_signature(folder / SIGNATURE_FILE), str(archive)):
        raise SignatureError(
            f"{archive}: signed in the form of version 1, and its handler reads no newer one: "
            "package the model with --sign"
        )


def check_packed_here(archive: Path) -> None:
    """Refuse a file that is not an archive of this project.

    Raises:
        FireError: it is missing, damaged, or has no bundle in it.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            names = set(packed.namelist())
    except OSError as error:
        raise FireError(f"{archive}: cannot read the archive: {error.strerror}") from None
    except zipfile.BadZipFile:
        raise FireError(f"{archive}: damaged, expected an archive (.mar)") from None
    if not {MANIFEST, BUNDLE_FILE} <= names:
        raise FireError(
            f"{archive}: holds no {BUNDLE_FILE}: swap changes the bundle or the mode of a "
            "repaired archive; torchserve-fire repair makes one of this, and deploy serves it"
        )


@contextmanager
def _some_files_of(archive: Path) -> Iterator[tuple[Path, Path]]:
    """Unpack manifest, bundle and configuration; yield the folder, and the configuration."""
    with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(archive) as packed:
        for name in (MANIFEST, BUNDLE_FILE, SETTINGS_FILE):
            if name in packed.namelist() or name != SETTINGS_FILE:
                packed.extract(name, temporary)
        config = config_of(Path(temporary))
        packed.extract(config.name, temporary)
        yield Path(temporary), config


def config_of(folder: Path) -> Path:
    """Return the file with the settings of the repair, in an unpacked archive.

    Raises:
        FireError: the archive names none.
    """
    if (folder / SETTINGS_FILE).is_file():
        return folder / SETTINGS_FILE
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    name = manifest["model"].get("configFile")
    if name is None:
        raise FireError(f"{MANIFEST}: names no configFile, expected the model-config.yaml")
    return folder / Path(name).name


def set_mode(config: Path, mode: str) -> None:
    """Write another mode of the handler into the settings."""
    values = yaml.safe_load(config.read_text(encoding="utf-8-sig"))
    values["handler"]["mode"] = mode
    config.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def next_version(version: str) -> str:
    """Return the version with its last number increased by one.

    Raises:
        FireError: it has no number.

    Example:
        >>> next_version("1.9")
        '1.10'
    """
    numbers = list(re.finditer(r"\d+", version))
    if not numbers:
        raise FireError(f"version {version!r} has no number to increase: give --version")
    start, end = numbers[-1].span()
    return f"{version[:start]}{int(version[start:end]) + 1}{version[end:]}"
