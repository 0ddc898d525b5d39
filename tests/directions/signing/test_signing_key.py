from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.keys import KEY
from torchserve_fire.errors import SignatureError
from torchserve_fire.format.ed25519 import parse_public_key
from torchserve_fire.format.signature import MAX_BYTES
from torchserve_fire_build.common.errors import OutputError
from torchserve_fire_build.signing.signing_key import (
    KEY_VARIABLE,
    make_key_file,
    public_key_of,
    read_signing_key,
    sign_files,
)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def test_a_key_file_is_for_its_owner_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    before = os.umask(0)
    try:
        public = make_key_file(path)
    finally:
        os.umask(before)
    assert parse_public_key(public, "") == public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_key_of(read_signing_key(path)) == public
    data = path.read_bytes()
    for taken in (path, tmp_path / "link.pem"):
        if taken != path:
            taken.symlink_to(path)
        with pytest.raises(OutputError, match="exists already"):
            make_key_file(taken)
    assert path.read_bytes() == data
    with pytest.raises(OutputError, match="no folder"):
        make_key_file(tmp_path / "none" / "key.pem")


def test_the_environment_may_hold_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = make_key_file(tmp_path / "key.pem")
    with pytest.raises(SignatureError, match=f"{KEY_VARIABLE}$"):
        read_signing_key(None)
    monkeypatch.setenv(KEY_VARIABLE, (tmp_path / "key.pem").read_text())
    assert public_key_of(read_signing_key(None)) == public


def pem(key: object, encryption: object = None, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())  # type: ignore[attr-defined]
    return data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        pem(KEY)[:-30],
        pem(KEY, BestAvailableEncryption(b"secret")),
        pem(KEY, form=PrivateFormat.OpenSSH),
        pem(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["empty", "nonsense", "truncated", "encrypted", "openssh", "elliptic"],
)
def test_what_is_no_signing_key(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    with pytest.raises(SignatureError, match=r"key.pem: expected an Ed25519 private key") as caught:
        read_signing_key(path)
    assert data == b"" or data.decode() not in str(caught.value)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"none.pem: cannot read the key: No such file"):
        read_signing_key(tmp_path / "none.pem")


def test_what_no_reader_would_take_is_not_signed() -> None:
    with pytest.raises(SignatureError, match=r"^'a.udcff': cannot be signed") as caught:
        sign_files("archive", {"net.py": "1" * 64, "a\udcff": "1" * 64}, KEY)
    assert str(caught.value).isascii()
    many = {f"{i:0200}": "1" * 64 for i in range(MAX_BYTES // 200)}
    with pytest.raises(SignatureError, match=r"^20,971 files cannot be signed together"):
        sign_files("archive", many, KEY)
