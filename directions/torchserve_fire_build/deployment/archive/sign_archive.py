"""Signing an archive, and checking one from outside, before anything of it runs."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from torchserve_fire.core.archive_signature import (
    SIGNATURE_FILE,
    check_digest,
    check_names,
    list_files,
)
from torchserve_fire.errors import SignatureError
from torchserve_fire.format.digest import CHUNK_BYTES, file_sha256, stream_sha256
from torchserve_fire.format.signature import MAX_BYTES, verify_signature

from ...signing.signing_key import sign_files
from .reproducible_zip import write_entries


def sign_folder(folder: Path, key: Ed25519PrivateKey) -> None:
    """Put the signature of every other file into an unpacked archive, in the place of an old one.

    Raises:
        SignatureError: something in the folder is not a regular file, or has a name that cannot be
            signed.
    """
    files = {
        name: file_sha256(folder / name) for name in list_files(folder) if name != SIGNATURE_FILE
    }
    (folder / SIGNATURE_FILE).write_bytes(sign_files("archive", files, key))


def verify_archive(archive: Path, trusted_keys: Sequence[str]) -> None:
    """Refuse an archive that is not, to the byte, what one of the trusted keys has signed.

    Besides the signature, the zip file must be written as this project writes it: readers of zip
    files do not agree on what a crafted one holds, and TorchServe's is another than Python's.

    Args:
        archive: the `.mar`; nothing of it is run or unpacked.
        trusted_keys: public keys.

    Raises:
        SignatureError: it cannot be read, is not signed by any of them, or was changed.
    """
    try:
        digests, signature = _read(archive)
    except OSError as error:
        raise SignatureError(f"{archive}: cannot be read: {error.strerror or error}") from None
    if signature is None:
        raise SignatureError(
            f"{archive}: not signed, expected a signature by a trusted key (package --sign)"
        )
    try:
        signed = verify_signature(signature, "archive", trusted_keys, SIGNATURE_FILE)
        check_names(digests, signed)
        for name, digest in sorted(digests.items()):
            check_digest(name, digest, signed)
    except SignatureError as error:
        raise SignatureError(f"{archive}: {error}") from None


def _read(archive: Path) -> tuple[dict[str, str], bytes | None]:
    """Return the SHA-256 of each file of an archive by its path, and its signature's document.

    Raises:
        OSError: it cannot be read.
        SignatureError: it is not written as this project writes archives.
    """
    digests = {}
    signature = None
    try:
        with archive.open("rb") as file, zipfile.ZipFile(file) as packed:
            if not _is_written_here(packed, file):
                raise ValueError
            for name in packed.namelist():
                with packed.open(name) as entry:
                    if name == SIGNATURE_FILE:
                        # One byte more is enough to refuse it.
                        signature = entry.read(MAX_BYTES + 1)
                    else:
                        digests[name] = stream_sha256(entry)
    except OSError:
        raise
    except Exception:  # On a crafted file, zipfile raises many kinds.
        raise SignatureError(
            f"{archive}: damaged, or not written by torchserve-fire package"
        ) from None
    return digests, signature


def _is_written_here(packed: zipfile.ZipFile, file: IO[bytes]) -> bool:
    """Whether a zip file has the bytes that its entries get when this project writes them."""
    entries = packed.infolist()
    size = file.seek(0, os.SEEK_END)
    # What is written below is bounded by the file itself: nothing unpacks to more.
    if not entries or sum(entry.file_size for entry in entries) > size:
        return False
    if len({entry.filename for entry in entries}) != len(entries):
        return False
    with tempfile.TemporaryFile() as copy:
        write_entries(packed, copy, entries[0].date_time)
        return _same_bytes(copy, file)


def _same_bytes(one: IO[bytes], other: IO[bytes]) -> bool:
    one.seek(0)
    other.seek(0)
    while True:
        left, right = one.read(CHUNK_BYTES), other.read(CHUNK_BYTES)
        if left != right:
            return False
        if not left:
            return True
