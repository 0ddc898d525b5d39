from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.handler.format.signed_version_1 import sign_version_1
from tests.keys import KEY, OTHER_PUBLIC, PUBLIC
from torchserve_fire.core.archive_signature import SIGNATURE_FILE
from torchserve_fire.errors import SignatureError
from torchserve_fire.format.signature import MAX_BYTES
from torchserve_fire_build.deployment.archive.reproducible_zip import write_reproducibly
from torchserve_fire_build.deployment.archive.sign_archive import sign_folder, verify_archive

FILES = {"net.py": b"a = 1\n", "MAR-INF/MANIFEST.json": b"{}\n"}


def signed_archive(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    """A small archive, signed as `package` signs one."""
    staged = folder / "staged"
    for name, content in (files or FILES).items():
        path = staged / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sign_folder(staged, KEY)
    packed = folder / "packed.zip"
    with zipfile.ZipFile(packed, "w") as destination:
        for path in staged.rglob("*"):
            if path.is_file():
                destination.write(path, path.relative_to(staged).as_posix())
    write_reproducibly(packed, folder / "small.mar")
    return folder / "small.mar"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return signed_archive(tmp_path)


def refused(archive: Path, match: str) -> None:
    with pytest.raises(SignatureError, match=match) as caught:
        verify_archive(archive, [PUBLIC])
    assert str(archive) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Write the archive anew with other files, as this project would."""
    with zipfile.ZipFile(archive) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    change(files)
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    write_reproducibly(archive, archive)


def test_a_signed_archive_is_trusted(archive: Path) -> None:
    verify_archive(archive, [OTHER_PUBLIC, PUBLIC])
    with pytest.raises(SignatureError, match="which is not trusted"):
        verify_archive(archive, [OTHER_PUBLIC])


def test_an_archive_that_was_signed_in_the_form_of_version_1_is_trusted(archive: Path) -> None:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    document = sign_version_1("archive", digests, KEY)
    rewritten(archive, lambda files: files.update({SIGNATURE_FILE: document}))
    verify_archive(archive, [PUBLIC])
    rewritten(archive, lambda files: files.update({"net.py": b"a = 2\n"}))
    refused(archive, r"'net.py': was changed")


def test_a_huge_signature_is_refused(archive: Path) -> None:
    rewritten(archive, lambda files: files.update({SIGNATURE_FILE: bytes(MAX_BYTES + 1)}))
    refused(archive, "expected a signature")


def test_every_flipped_byte_is_refused(archive: Path) -> None:
    good = archive.read_bytes()
    for position in range(len(good)):
        data = bytearray(good)
        data[position] ^= 1 << position % 8
        archive.write_bytes(data)
        with pytest.raises(SignatureError):
            verify_archive(archive, [PUBLIC])
    archive.write_bytes(good)
    verify_archive(archive, [PUBLIC])


def test_truncations_are_refused(archive: Path) -> None:
    good = archive.read_bytes()
    for length in range(0, len(good), 7):
        archive.write_bytes(good[:length])
        with pytest.raises(SignatureError):
            verify_archive(archive, [PUBLIC])


def test_a_file_changed_added_or_left_out_is_named(archive: Path) -> None:
    good = archive.read_bytes()
    rewritten(archive, lambda files: None)
    assert archive.read_bytes() == good
    rewritten(archive, lambda files: files.update({"net.py": b"a = 2\n"}))
    refused(archive, r"'net.py': was changed")
    archive.write_bytes(good)
    rewritten(archive, lambda files: files.update({"__pycache__/net.cpython-311.pyc": b""}))
    refused(archive, r"pyc': was added")
    archive.write_bytes(good)
    rewritten(archive, lambda files: files.update({"torch/": b""}))
    refused(archive, "'torch/': was added")
    archive.write_bytes(good)
    rewritten(archive, lambda files: files.pop("net.py") and None)
    refused(archive, r"'net.py': is missing")
    archive.write_bytes(good)
    rewritten(archive, lambda files: files.pop(SIGNATURE_FILE) and None)
    refused(archive, "not signed")


def test_an_older_file_or_signature_in_a_newer_archive_is_refused(
    archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    newer = signed_archive(tmp_path / "new", {**FILES, "net.py": b"a = 2\n"})
    good = newer.read_bytes()
    with zipfile.ZipFile(archive) as older:
        for name in ("net.py", SIGNATURE_FILE):
            content = older.read(name)
            rewritten(newer, lambda files, n=name, c=content: files.update({n: c}))  # type: ignore[misc]
            refused(newer, r"'net.py': was changed")
            newer.write_bytes(good)


def entry(name: str, content: bytes) -> bytes:
    """A zip file of one entry, up to its directory."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr(name, content)
        end = packed.start_dir
    return file.getvalue()[:end]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "crafted", ["before", "after", "comment", "compressed", "twice", "unsorted"]
)
def test_a_zip_file_that_another_reader_may_read_otherwise_is_refused(
    archive: Path, crafted: str
) -> None:
    good = archive.read_bytes()
    if crafted == "before":  # Read front to back, it holds another net.py.
        archive.write_bytes(entry("net.py", b"evil\n") + good)
    elif crafted == "after":
        archive.write_bytes(good + b"\0" * 8)
    else:
        with zipfile.ZipFile(archive) as packed:
            files = [(name, packed.read(name)) for name in packed.namelist()]
        kind = zipfile.ZIP_DEFLATED if crafted == "compressed" else zipfile.ZIP_STORED
        with zipfile.ZipFile(archive, "w", kind) as packed:
            files = files[::-1] if crafted == "unsorted" else files
            for name, content in files + (files[:1] if crafted == "twice" else []):
                packed.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, kind)
            packed.comment = b"more" if crafted == "comment" else b""
        if crafted == "twice":
            write_reproducibly(archive, archive)
    with zipfile.ZipFile(archive) as packed:
        assert packed.read("net.py") == FILES["net.py"]
    refused(archive, "not written by torchserve-fire")


def test_what_unpacks_to_more_than_the_file_holds_is_not_unpacked(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bomb", bytes(1 << 20))
    written: list[object] = []
    monkeypatch.setattr(
        "torchserve_fire_build.deployment.archive.sign_archive.write_entries",
        lambda *each: written.append(each),
    )
    refused(archive, "not written by torchserve-fire")
    assert written == []


def test_what_is_no_archive(tmp_path: Path) -> None:
    refused(tmp_path / "none.mar", "cannot be read: No such file")
    refused(tmp_path, "cannot be read: Is a directory")
    (tmp_path / "some.mar").write_bytes(b"nonsense")
    refused(tmp_path / "some.mar", "damaged")


def test_a_folder_with_a_link_is_not_signed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SignatureError, match="'link': a link"):
        sign_folder(tmp_path, KEY)
