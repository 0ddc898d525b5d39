"""Giving a running model another bundle, or mode, without losing a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.format.bundle_signature import check_bundle_signature
from torchserve_fire.format.write_file import check_writable

from ..archive.any_archive import version_of_manifest
from ..archive.archive_name import archive_path, check_name
from ..archive.load_as_worker import CPU, load_as_worker
from ..archive.next_archive import (
    Change,
    bundle_folder_of,
    check_packed_here,
    must_be_signed,
    next_version,
    unpacked_with,
)
from .rollout import Target, archive_of, place, put_into_service, retire_replaced
from .swap_lock import swap_lock
from .tried_by import without_flagged


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
    device: torch.device = CPU,
    on_default: Callable[[], None] | None = None,
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
        device: that the new archive is tried on here.
        on_default: called once the new version is the default, before the old one is drained, which
            takes minutes; nothing is undone after it.

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
    target.management.check_model_api()
    archive_of(target, target.management.describe(name))
    with swap_lock(target.model_store, name):
        # Asked again: another swap may have ended meanwhile.
        old = target.management.describe(name)
        archive = archive_of(target, old)
        check_packed_here(archive)
        held = version_of_manifest(archive)
        if held != old.version:
            raise FireError(
                f"{archive}: holds version {held}, the server has {old.version} as the default: is "
                "this the server's model store?"
            )
        if change.is_made_in(archive):
            what = " and ".join(["this bundle"] * (bundle is not None) + ["this mode"] * bool(mode))
            report(f"{name} {old.version} serves with {what} already")
            if on_default is not None:
                on_default()
            retire_replaced(target, name, report)
            return old.version
        if bundle is not None and (folder := bundle_folder_of(archive)) is not None:
            raise FireError(
                f"{archive}: its workers go by the newest bundle in {folder} (handler: "
                "bundle_folder), whatever the archive holds: give --in-place"
            )
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
            expected = load_as_worker(unpacked.folder, name, bodies, device=device, as_server=True)
            report("the next version loads, and answers here")
            bodies, expected = without_flagged(bodies, expected, report)
            new = place(
                target,
                name,
                old,
                version or next_version(old.version),
                unpacked.write,
                exactly=version is not None,
            )
        report(f"registering {name} {new.version} ({new.file.name})")
        put_into_service(target, name, old, new, bodies, expected)
        report(f"{name} {new.version} answers as it should and is the default now")
        if on_default is not None:
            on_default()
        if new_mode == "off":
            report("its mode is off: nothing is judged or repaired until swap --mode repair")
        retire_replaced(target, name, report)
        return new.version
