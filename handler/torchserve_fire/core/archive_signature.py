"""The signature of an archive: all other files in it, by path and SHA-256, signed together.

It shows a file that was changed, added, left out, or taken from another archive. The code that
checks it lies in the archive, too. So the worker's check does not stop somebody who can replace the
whole archive; `torchserve-fire serve --trusted-key` and `verify` do, which run from outside.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import SignatureError
from ..format.digest import file_sha256
from ..format.fields import shown
from ..format.signature import read_signature, verify_signature

SIGNATURE_FILE = "archive_signature.json"
"""The name under which an archive holds its signature."""

# What Python makes of net.py: __pycache__/net.cpython-311.pyc, written under a number first.
BYTECODE = re.compile(r"((?:.*/)?)__pycache__/([^/]+?)\.[\w-]+(?:\.opt-\w+)?\.pyc(?:\.\d+)?")


def check_archive_folder(
    folder: Path, trusted_keys: Sequence[str], *, has_run: bool = True
) -> None:
    """Refuse an unpacked archive that is not what one of the trusted keys has signed.

    Bytecode that Python itself wrote for a signed file, while the archive was served, is not
    checked: whoever can write into the folder could change the code that checks as well. Before
    anything of it has run there is none.

    Args:
        folder: the unpacked archive.
        trusted_keys: public keys.
        has_run: whether something of it may have run there.

    Raises:
        SignatureError: there is no signature, it is wrong, or by another key; a file was changed,
            added or left out, or is no regular file.
    """
    try:
        data = read_signature(folder / SIGNATURE_FILE)
    except OSError:
        raise SignatureError(
            f"{SIGNATURE_FILE}: cannot be read: the archive is not signed, expected a signature by "
            "a trusted key (package --sign)"
        ) from None
    signed = verify_signature(data, "archive", trusted_keys, SIGNATURE_FILE)
    found = {
        name
        for name in list_files(folder)
        if name != SIGNATURE_FILE and not (has_run and _is_bytecode_of(name, signed))
    }
    check_names(found, signed)
    for name in sorted(found):
        check_digest(name, file_sha256(folder / name), signed)


def check_names(found: Collection[str], signed: Mapping[str, str]) -> None:
    """Refuse files that were added to, or left out of, what was signed.

    Raises:
        SignatureError: names one of them.
    """
    for name in sorted(set(found) - set(signed)):
        raise SignatureError(f"{shown(name)}: was added to the archive after it was signed")
    for name in sorted(set(signed) - set(found)):
        raise SignatureError(f"{shown(name)}: is missing, but was signed as part of the archive")


def check_digest(name: str, digest: str, signed: Mapping[str, str]) -> None:
    """Refuse a file that is another than was signed.

    Raises:
        SignatureError: its SHA-256 is another.
    """
    if digest != signed[name]:
        raise SignatureError(f"{shown(name)}: was changed after the archive was signed")


def list_files(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield the paths of all files in a folder, relative to it, with slashes.

    Raises:
        SignatureError: something in it is neither a folder nor a regular file, or cannot be listed.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise SignatureError(f"{shown(prefix)}: cannot be listed: {error.strerror}") from None
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from list_files(Path(entry.path), f"{name}/")
        elif entry.is_file(follow_symlinks=False):
            yield name
        else:
            raise SignatureError(f"{shown(name)}: a link or a special file, expected a file")


def _is_bytecode_of(name: str, signed: Mapping[str, str]) -> bool:
    match = BYTECODE.fullmatch(name)
    return match is not None and f"{match[1]}{match[2]}.py" in signed
