"""Packing a model, its bundle and this project's handler into a `.mar` that TorchServe serves."""

from __future__ import annotations

import codecs
import glob
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from model_archiver.model_archiver_config import ModelArchiverConfig
from model_archiver.model_packaging_utils import ModelExportUtils

from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.format.bundle_signature import check_bundle_signature
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.model.class_names import NAMES_FILE
from torchserve_fire.model.config import HandlerConfig, load_config
from torchserve_fire.model.load_model import check_model_files
from torchserve_fire.model.own_settings import own_settings, with_own_settings
from torchserve_fire.model.pretrained_folder import files_of, is_pretrained, labels_of
from torchserve_fire.model.sharded_weights import INDEX_SUFFIX, shard_files
from torchserve_fire.model.timm_model import is_timm

from .archive_name import new_archive_path
from .entry import (
    ENTRY_FILE,
    PACKED_HANDLER,
    RESERVED,
    entry_around,
    entry_of,
    pack_serving_package,
)
from .load_as_worker import CPU, load_as_worker
from .reproducible_zip import source_date, write_reproducibly
from .sign_archive import sign_folder

ARCHIVE_FORMAT = "zip-store"


@dataclass(frozen=True)
class ArchiveInputs:
    """What goes into an archive.

    Attributes:
        model_name: the model's name.
        version: its version.
        model_file: Python file of the model's class, or `timm:NAME`; None where the next one is a
            program, or lies in a folder of transformers.
        serialized_file: its weights, or a `torch.export` program. What they go with is packed, too.
        config_file: its `model-config.yaml`.
        bundle: its direction bundle; None only where the configuration says `mode: off`.
        handler: the user's own, as torch-model-archiver takes it: FILE.py, FILE.py:FUNCTION, or the
            name of one of TorchServe's; this project's where None.
        extra_files: further files and folders, comma-separated, wildcards allowed; the contents
            of a folder land at the top of the archive, as torch-model-archiver has it.
        requirements_file: packages for TorchServe to install.
    """

    model_name: str
    version: str
    model_file: Path | None
    serialized_file: Path
    config_file: Path
    bundle: Path | None = None
    handler: str | None = None
    extra_files: str = ""
    requirements_file: Path | None = None


def package_archive(
    inputs: ArchiveInputs,
    export_path: Path,
    *,
    force: bool = False,
    signing_key: Ed25519PrivateKey | None = None,
    trusted_keys: Sequence[str] = (),
    device: torch.device = CPU,
) -> Path:
    """Write `NAME-VERSION.mar`, after proving that a TorchServe worker can load and repair with it.

    The same inputs give the same bytes; the times in the archive are SOURCE_DATE_EPOCH where that
    is set, else 1980.

    Args:
        inputs: what goes into it.
        export_path: folder for the archive.
        force: whether an archive of that name may be replaced.
        signing_key: to sign the archive with; it is not signed where None.
        trusted_keys: public keys, one of which must have signed the bundle; where there are none,
            it need not be signed.
        device: that the worker which tries it is told to use.

    Returns:
        The archive's path.

    Raises:
        FireError: an input is missing or wrong, two files want the same place, the archive exists,
            or it would not serve; the bundle is not signed by a trusted key; the archive could
            not be signed. Nothing is written then.
    """
    target = new_archive_path(export_path, inputs.model_name, inputs.version, force=force)
    if inputs.handler is None:  # A user's own handler may load its model in its own way.
        check_model_files(inputs.model_file, inputs.serialized_file)
    own = own_settings(inputs.model_file, inputs.serialized_file)
    config = load_config(inputs.config_file, own)
    _check_signing(inputs, config, signing_key, trusted_keys)
    if inputs.bundle is not None:
        load_bundle(inputs.bundle)
    elif config.mode != "off":
        raise FireError(
            f"{inputs.config_file}: handler: mode: {config.mode!r} needs a bundle: give --bundle, "
            "or set mode: off to serve the model without repair"
        )
    with tempfile.TemporaryDirectory(prefix="fire-package-") as temporary:
        folder = Path(temporary) / "archive"
        folder.mkdir()
        _stage(inputs, folder)
        if own:
            _complete(folder / inputs.config_file.name, own)
        if inputs.bundle is not None and trusted_keys:
            digest = file_sha256(folder / BUNDLE_FILE)
            check_bundle_signature(inputs.bundle, digest, trusted_keys)
        manifest = _manifest(inputs)
        _write(folder / MANIFEST, manifest)
        if signing_key is not None:
            sign_folder(folder, signing_key)
        load_as_worker(folder, inputs.model_name, device=device)
        (folder / MANIFEST).unlink()
        # Its `package_model` would stage in one fixed folder, where parallel calls collide.
        ModelExportUtils.archive(
            temporary, inputs.model_name, str(folder), manifest, ARCHIVE_FORMAT
        )
        packed = Path(
            ModelExportUtils.get_archive_export_path(temporary, inputs.model_name, ARCHIVE_FORMAT)
        )
        write_reproducibly(packed, target)
    return target


def _check_signing(
    inputs: ArchiveInputs,
    config: HandlerConfig,
    signing_key: Ed25519PrivateKey | None,
    trusted_keys: Sequence[str],
) -> None:
    """Refuse what cannot be signed, or would not be loaded without a signature."""
    if signing_key is not None and inputs.requirements_file is not None:
        raise FireError(
            f"--requirements-file {inputs.requirements_file}: TorchServe installs its packages "
            "into the archive's folder, where a signed archive takes no further file: install them "
            "into the server's environment instead"
        )
    if signing_key is None and config.trusted_keys:
        raise FireError(
            f"{inputs.config_file}: handler: trusted_keys: the archive would not be loaded without "
            "a signature by one of them: give --sign"
        )
    if inputs.bundle is None and trusted_keys:
        raise FireError(
            "--trusted-key: there is no bundle to check: give --bundle, or leave it out"
        )


def _manifest(inputs: ArchiveInputs) -> str:
    """Return the archiver's manifest, with a time of creation that does not change."""
    requirements = inputs.requirements_file
    manifest = json.loads(
        ModelExportUtils.generate_manifest_json(
            ModelArchiverConfig(
                model_name=inputs.model_name,
                version=inputs.version,
                handler=ENTRY_FILE,
                model_file=inputs.model_file.name if inputs.model_file else None,
                serialized_file=inputs.serialized_file.name,
                config_file=inputs.config_file.name,
                requirements_file=requirements.name if requirements else None,
            )
        )
    )
    manifest["createdOn"] = time.strftime("%d/%m/%Y %H:%M:%S", time.gmtime(source_date()))
    return json.dumps(manifest, indent=2)


def _stage(inputs: ArchiveInputs, folder: Path) -> None:
    """Put every file of the archive but its manifest into `folder`."""
    taken = dict.fromkeys(RESERVED, "torchserve-fire itself")
    entry, handler_file = (None, None) if inputs.handler is None else entry_of(inputs.handler)
    for what, path in (
        ("--model-file", inputs.model_file),
        ("--serialized-file", inputs.serialized_file),
        ("--config-file", inputs.config_file),
        ("--requirements-file", inputs.requirements_file),
        ("--handler", handler_file),
    ):
        if path is not None and not is_timm(path):
            _copy(path, folder, what, taken)
    for path in _beside_weights(inputs):
        _copy(path, folder, "--serialized-file", taken)
    for path in _extra_paths(inputs.extra_files):
        _copy(path, folder, "--extra-files", taken)
    _write_labels(inputs, folder)
    if inputs.bundle is not None:
        shutil.copyfile(inputs.bundle, folder / BUNDLE_FILE)
    pack_serving_package(folder)
    if entry is None:
        shutil.copyfile(folder / PACKED_HANDLER / "serve" / ENTRY_FILE, folder / ENTRY_FILE)
    else:
        _write(folder / ENTRY_FILE, entry_around(entry))


def _beside_weights(inputs: ArchiveInputs) -> Sequence[Path]:
    """Return the files that the weights' file goes with."""
    weights = inputs.serialized_file
    if inputs.model_file is None and is_pretrained(weights):
        return files_of(weights)[1:]
    return shard_files(weights) if weights.name.endswith(INDEX_SUFFIX) else ()


def _complete(config: Path, own: Mapping[str, Any]) -> None:
    """Write the settings that come with the model into the archive's configuration."""
    values = yaml.safe_load(config.read_text(encoding="utf-8-sig"))
    complete = with_own_settings(values, own)
    if complete != values:
        config.write_text(yaml.safe_dump(complete, sort_keys=False), encoding="utf-8")


def _write_labels(inputs: ArchiveInputs, folder: Path) -> None:
    """Write the names of the classes that come with the model, unless others were given."""
    if (
        inputs.model_file is None
        and is_pretrained(inputs.serialized_file)
        and not (folder / NAMES_FILE).exists()
        and (labels := labels_of(inputs.serialized_file.parent))
    ):
        _write(folder / NAMES_FILE, json.dumps(labels, indent=2, ensure_ascii=False))


def _copy(path: Path, folder: Path, what: str, taken: dict[str, str]) -> None:
    if path.name in taken:
        raise FireError(
            f"{what} {path}: the archive's {path.name} comes from {taken[path.name]} already"
        )
    taken[path.name] = f"{what} {path}"
    try:
        if path.is_dir() and what == "--extra-files":
            shutil.copytree(path, folder / path.name, ignore=_left_out)
        else:
            shutil.copyfile(path, folder / path.name)
            if path.name == NAMES_FILE:
                _drop_byte_order_mark(folder / path.name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FireError(f"{what} {path}: cannot be copied: {reason}") from None


def _drop_byte_order_mark(path: Path) -> None:
    """Rewrite names of classes that begin with one: TorchServe does not read them."""
    data = path.read_bytes()
    if data.startswith(codecs.BOM_UTF8):
        path.write_bytes(data.removeprefix(codecs.BOM_UTF8))


def _extra_paths(extra_files: str) -> Iterable[Path]:
    """Return the files and folders for the top of the archive, as torch-model-archiver has it."""
    for pattern in filter(None, map(str.strip, extra_files.split(","))):
        found = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))  # noqa: PTH207 - a whole path
        if not found:
            raise FireError(f"--extra-files {pattern}: no such file")
        for path in map(Path, found):
            if not path.is_dir():
                yield path
                continue
            names = sorted(item.name for item in path.iterdir())
            left_out = _left_out(str(path), names)
            yield from (path / name for name in names if name not in left_out)


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Return which entries of a folder torch-model-archiver leaves out of archives."""
    return {
        name
        for name in names
        if (name in ("__pycache__", "__MACOSX") or name.startswith("."))
        and Path(folder, name).is_dir()
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
