"""What an archive says of its bundle, and of where its flagged inputs are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torchserve_fire.core.bundle_folder import bundles_in
from torchserve_fire.core.unpack import unpack
from torchserve_fire.errors import BundleError, FireError
from torchserve_fire.format.bundle_file import BUNDLE_FILE

from ..common.errors import SamplesError
from ..deployment.archive.next_archive import check_packed_here, settings_of


@dataclass(frozen=True)
class ServedModel:
    """What the archive of a served model says.

    Attributes:
        quarantine: where its flagged inputs are kept.
        bundle: that its workers go by; None: the one in the archive.
        in_place: whether its workers take bundles from a folder.
    """

    quarantine: Path
    bundle: Path | None
    in_place: bool


def read_served(archive: Path, name: str, quarantine: Path | None) -> ServedModel:
    """Read the archive of a served model.

    Args:
        archive: its file.
        name: that it is served under.
        quarantine: where this machine has its quarantine; None: where its settings say.

    Raises:
        FireError: it is no archive of this project, keeps nothing, or its bundle is not found.
    """
    check_packed_here(archive)
    settings = settings_of(archive)
    if quarantine is None:
        if settings.quarantine is None:
            raise SamplesError(
                f"{archive}: its settings name no quarantine, so nothing that was flagged is kept: "
                "set quarantine under handler:, or give FOLDER"
            )
        quarantine = settings.quarantine.folder / name
    folder = settings.bundle_folder
    if folder is None:
        return ServedModel(quarantine, None, in_place=False)
    try:
        newest = next(iter(bundles_in(folder)), None)
    except OSError as error:
        raise FireError(
            f"{folder}: {error.strerror}, expected the folder that the workers of {name} take "
            "bundles from: give --bundle"
        ) from None
    return ServedModel(quarantine, None if newest is None else newest.path, in_place=True)


def check_holds_bundle(archive: Path) -> None:
    """Refuse an archive without a bundle.

    Raises:
        FireError: it holds none, or is no archive.
    """
    # Its temporary folder goes when nothing refers to it any more.
    unpacked = unpack(archive)
    if not (unpacked.folder / BUNDLE_FILE).is_file():
        raise BundleError(
            f"{archive}: holds no direction bundle, expected --bundle, or an archive that repair "
            "has written"
        )
