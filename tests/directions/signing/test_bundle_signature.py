from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.keys import KEY, OTHER_KEY, OTHER_PUBLIC, PUBLIC
from tests.tiny import TinyFiles
from torchserve_fire.errors import BundleError, SignatureError
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.signing.bundle_signature import check_bundle_signature, sign_bundle


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


def test_only_a_bundle_is_signed(tmp_path: Path) -> None:
    path = tmp_path / "bundle.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(BundleError):
        sign_bundle(path, KEY)
    assert list(tmp_path.iterdir()) == [path]
