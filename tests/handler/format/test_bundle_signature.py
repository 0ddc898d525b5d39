from __future__ import annotations

import hashlib
import os
import shutil
import tracemalloc
from pathlib import Path

import pytest

from tests.handler.format.signed_version_1 import sign_version_1
from tests.keys import KEY, OTHER_KEY, OTHER_PUBLIC, PUBLIC
from tests.tiny import TinyFiles
from torchserve_fire.errors import BundleError, SignatureError
from torchserve_fire.format import bundle_signature
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.format.bundle_file import MAX_BYTES as MAX_BUNDLE_BYTES
from torchserve_fire.format.bundle_signature import check_bundle_signature, load_signed_bundle
from torchserve_fire.format.signature import MAX_BYTES
from torchserve_fire_build.signing.sign_bundle import sign_bundle


@pytest.fixture
def bundle(tiny: TinyFiles, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny.bundle, tmp_path))


def check(bundle: Path, *keys: str) -> None:
    check_bundle_signature(bundle, load_bundle(bundle).digest, keys)


def test_a_signed_bundle_is_trusted_under_any_name(bundle: Path) -> None:
    signature = sign_bundle(bundle, KEY)
    assert signature.name == "bundle.safetensors.sig"
    check(bundle, OTHER_PUBLIC, PUBLIC)
    first = signature.read_bytes()
    assert sign_bundle(bundle, KEY).read_bytes() == first
    renamed = bundle.rename(bundle.with_name("renamed.safetensors"))
    signature.rename(bundle.with_name("renamed.safetensors.sig"))
    check(renamed, PUBLIC)


def test_another_key_and_another_bundle_are_refused(bundle: Path, tiny: TinyFiles) -> None:
    with pytest.raises(SignatureError, match=r"safetensors.sig: cannot read the bundle's sig"):
        check(bundle, PUBLIC)
    sign_bundle(bundle, OTHER_KEY)
    with pytest.raises(SignatureError, match="which is not trusted"):
        check(bundle, PUBLIC)
    sign_bundle(bundle, KEY)
    shutil.copy(tiny.other_bundle, bundle)
    with pytest.raises(SignatureError, match="signs another bundle than"):
        check(bundle, PUBLIC)


def test_a_signature_of_version_1_is_read_and_a_huge_one_is_not(
    bundle: Path, tiny: TinyFiles
) -> None:
    files = {BUNDLE_FILE: load_bundle(bundle).digest}
    signature = bundle.with_name("bundle.safetensors.sig")
    signature.write_bytes(sign_version_1("bundle", files, KEY))
    check(bundle, PUBLIC)
    with pytest.raises(SignatureError, match="which is not trusted"):
        check(bundle, OTHER_PUBLIC)
    signature.write_bytes(sign_version_1("archive", files, KEY))
    with pytest.raises(SignatureError, match="of kind 'archive', expected 'bundle'"):
        check(bundle, PUBLIC)
    sign_bundle(bundle, KEY)
    os.truncate(signature, MAX_BYTES + 1)
    with pytest.raises(SignatureError, match="expected a signature"):
        check(bundle, PUBLIC)
    sign_bundle(bundle, KEY)
    shutil.copy(tiny.other_bundle, bundle)
    with pytest.raises(SignatureError, match="signs another bundle than"):
        check(bundle, PUBLIC)


def test_only_a_bundle_is_signed(tmp_path: Path) -> None:
    path = tmp_path / "bundle.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(BundleError):
        sign_bundle(path, KEY)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_signed_is_loaded(bundle: Path) -> None:
    sign_bundle(bundle, KEY)
    assert load_signed_bundle(bundle, [OTHER_PUBLIC, PUBLIC]).digest == load_bundle(bundle).digest


def test_what_no_key_has_signed_is_neither_read_whole_nor_parsed(
    bundle: Path, tiny: TinyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(*_: object) -> None:
        raise AssertionError("was parsed")

    monkeypatch.setattr(bundle_signature, "parse_bundle", parse)
    with pytest.raises(SignatureError, match="cannot read the bundle's sig"):
        load_signed_bundle(bundle, [PUBLIC])
    # Who has no key can put a signature of before beside anything.
    sign_bundle(bundle, KEY)
    for size in (0, 10, MAX_BUNDLE_BYTES + 1, 1 << 40):
        os.truncate(bundle, size)
        tracemalloc.start()
        with pytest.raises(SignatureError, match="signs another bundle than"):
            load_signed_bundle(bundle, [PUBLIC])
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
        tracemalloc.stop()


def test_what_is_written_over_while_it_is_read_is_refused(
    bundle: Path, tiny: TinyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_bundle(bundle, KEY)
    sha256 = hashlib.sha256

    class Hash:
        def __init__(self) -> None:
            self.hash = sha256()
            self.update = self.hash.update

        def hexdigest(self) -> str:
            shutil.copy(tiny.other_bundle, bundle)
            return self.hash.hexdigest()

    monkeypatch.setattr(
        bundle_signature.hashlib, "sha256", lambda *data: sha256(*data) if data else Hash()
    )
    with pytest.raises(SignatureError, match="signs another bundle than"):
        load_signed_bundle(bundle, [PUBLIC])


def test_pipes_hold_nobody_up(bundle: Path) -> None:
    signature = sign_bundle(bundle, KEY)
    bundle.unlink()
    os.mkfifo(bundle)
    with pytest.raises(BundleError, match="is no regular file"):
        load_signed_bundle(bundle, [PUBLIC])
    signature.unlink()
    os.mkfifo(signature)
    with pytest.raises(SignatureError, match="is no regular file"):
        load_signed_bundle(bundle, [PUBLIC])
