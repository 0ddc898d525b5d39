"""A repaired archive from the one in production: its files, a bundle, and the repair around it."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from torchserve_fire.core.archive_signature import SIGNATURE_FILE
from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.core.unpack import Unpacked, copy_files
from torchserve_fire.errors import FireError, SignatureError
from torchserve_fire.format.bundle_file import BUNDLE_FILE
from torchserve_fire.model.config import OWN_HANDLER, SETTINGS_FILE, load_config

from ...signing.signing_key import public_key_of
from .entry import (
    ENTRY_FILE,
    PACKED_HANDLER,
    RESERVED,
    HandlerEntry,
    entry_around,
    pack_serving_package,
)
from .next_archive import check_signed, config_of, set_mode
from .reproducible_zip import write_reproducibly
from .sign_archive import sign_folder

EXAMPLE_STEM = "fire_example"


@dataclass(frozen=True)
class Example:
    """The body of a request that the archive's handler answers.

    Attributes:
        content: its bytes.
        suffix: of its file, which says what it is, such as ".jpg" or ".json".
    """

    content: bytes
    suffix: str


@dataclass(frozen=True)
class Addition:
    """What a repaired archive holds besides the files of the one it is made of.

    Attributes:
        bundle: file of the direction bundle.
        version: of the new archive.
        entry: the handler that the repair is put around; None where the archive holds the repair
            already, or this project's own handler.
        example: a request on which each worker proves the corrections when it starts; None where
            the archive names one, or zeros will do.
        name: the model's; None: the archive's.
    """

    bundle: Path
    version: str
    entry: HandlerEntry | None = None
    example: Example | None = None
    name: str | None = None


def stage_repaired(
    archive: Unpacked,
    addition: Addition,
    folder: Path,
    signing_key: Ed25519PrivateKey | None = None,
) -> None:
    """Lay out a repaired archive in a folder.

    Every file of the archive stays as it is, but for its manifest's handler and version. In an
    archive that this project has packed, bundle and serving package are replaced, and mode `off`
    becomes `repair`.

    Args:
        archive: that is repaired.
        addition: what it gets.
        folder: an empty folder.
        signing_key: to sign it with.

    Raises:
        FireError: a file of the archive stands where one of the repair's must.
    """
    _check_places(archive, addition)
    copy_files(archive.folder, folder)
    _unsign(folder)
    shutil.copyfile(addition.bundle, folder / BUNDLE_FILE)
    shutil.rmtree(folder / PACKED_HANDLER, ignore_errors=True)
    pack_serving_package(folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["model"]["modelVersion"] = addition.version
    if addition.name is not None:
        manifest["model"]["modelName"] = addition.name
    if addition.entry is not None:
        (folder / ENTRY_FILE).write_text(entry_around(addition.entry), encoding="utf-8")
        manifest["model"]["handler"] = ENTRY_FILE
        settings = {"input": OWN_HANDLER}
        if addition.example is not None:
            settings["example"] = EXAMPLE_STEM + addition.example.suffix
            (folder / settings["example"]).write_bytes(addition.example.content)
        text = yaml.safe_dump({"handler": settings}, sort_keys=False)
        (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")
    elif load_config(config_of(folder)).mode == "off":
        set_mode(config_of(folder), "repair")
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    if signing_key is not None:
        sign_folder(folder, signing_key)


def added_files(entry: HandlerEntry | None) -> list[str]:
    """Return the files of a repaired archive that are new, or other than in the archive before."""
    common = [MANIFEST, BUNDLE_FILE, f"{PACKED_HANDLER}/"]
    if entry is None:
        return common
    return [*common, ENTRY_FILE, SETTINGS_FILE, f"{EXAMPLE_STEM}.*"]


def pack(folder: Path, target: Path) -> None:
    """Write an unpacked archive to a file, which is replaced in one step.

    Raises:
        FireError: it cannot be written.
    """
    packed = folder.with_suffix(".packed")
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    write_reproducibly(packed, target)
    packed.unlink()


def check_signing(archive: Unpacked, key: Ed25519PrivateKey | None) -> None:
    """Refuse to repair a signed archive into one that is not, or that nobody should sign.

    To be called before anything of the archive runs.

    Raises:
        SignatureError: it is signed, or would not be loaded unsigned, and there is no key; or it is
            signed with another key, or was changed since.
        FireError: TorchServe would install packages into the signed folder.
    """
    signed = (archive.folder / SIGNATURE_FILE).is_file()
    here = archive.handler == ENTRY_FILE
    trusted = load_config(config_of(archive.folder)).trusted_keys if here else ()
    if key is None:
        if signed or trusted:
            raise SignatureError(
                f"{archive.source}: is signed, or asks for a signature, expected --sign: without "
                "one the repaired archive would not be loaded, or not be trusted"
            )
        return
    if archive.model.get("requirementsFile"):
        raise FireError(
            f"{archive.source}: names a requirementsFile, and TorchServe installs its packages "
            "into the archive's folder, where a signed archive takes no further file: leave out "
            "--sign, or install them into the server's environment and pack without it"
        )
    public = public_key_of(key)
    if trusted and public not in trusted:
        raise SignatureError(
            f"{archive.source}: its trusted_keys lack {public}, that of --sign: the repaired "
            "archive would not be loaded"
        )
    if signed:
        check_signed(archive.folder, archive.source, [public])


def _check_places(archive: Unpacked, addition: Addition) -> None:
    if addition.entry is None:
        if archive.handler != ENTRY_FILE:
            raise FireError(f"{archive.source}: handler {archive.handler}: expected {ENTRY_FILE}")
        return
    own = [f"{EXAMPLE_STEM}{addition.example.suffix}"] if addition.example else []
    for name in (*RESERVED, SETTINGS_FILE, *own):
        if name != "MAR-INF" and (archive.folder / name).exists():
            raise FireError(
                f"{archive.source}: holds a file or folder {name}, whose place the repair needs: "
                "pack the archive under another name for it"
            )


def _unsign(folder: Path) -> None:
    """Remove the signature of the old archive, which is none of the new one."""
    (folder / SIGNATURE_FILE).unlink(missing_ok=True)
