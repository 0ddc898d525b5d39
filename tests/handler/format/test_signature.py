import base64
import json
import sys

import pytest

from tests.keys import KEY, OTHER_KEY, OTHER_PUBLIC, PUBLIC
from torchserve_fire.errors import SignatureError
from torchserve_fire.format.signature import document_bytes, parse_public_key, verify_signature
from torchserve_fire_build.signing.signing_key import sign_files

FILES = {"net.py": "1" * 64, "folder/w.pth": "2" * 64}
DOCUMENT = sign_files("archive", FILES, KEY)


def verified(data=DOCUMENT, kind="archive", keys=(PUBLIC,)):
    return verify_signature(data, kind, keys, "s.json")


def refused(match, data=DOCUMENT, kind="archive", keys=(PUBLIC,)):
    with pytest.raises(SignatureError, match=match) as caught:
        verified(data, kind, keys)
    assert str(caught.value).startswith("s.json: ")
    assert len(str(caught.value).splitlines()) == 1


def changed(**fields):
    return document_bytes({**json.loads(DOCUMENT), **fields})


def test_what_was_signed_comes_back():
    assert verified() == FILES
    assert verified(keys=(OTHER_PUBLIC, PUBLIC)) == FILES


def test_the_same_files_and_key_give_the_same_bytes():
    assert sign_files("archive", dict(reversed(FILES.items())), KEY) == DOCUMENT
    assert sign_files("archive", FILES, OTHER_KEY) != DOCUMENT


def test_every_flipped_bit_is_refused():
    for position in range(len(DOCUMENT)):
        for bit in range(8):
            data = bytearray(DOCUMENT)
            data[position] ^= 1 << bit
            with pytest.raises(SignatureError):
                verified(bytes(data))


def test_every_truncation_is_refused():
    for length in range(len(DOCUMENT)):
        with pytest.raises(SignatureError):
            verified(DOCUMENT[:length])


def test_another_key_is_named():
    refused("is not trusted", sign_files("archive", FILES, OTHER_KEY))
    refused(OTHER_PUBLIC[:20].replace("+", r"\+"), sign_files("archive", FILES, OTHER_KEY))


def test_a_trusted_name_on_anothers_signature_is_refused():
    other = json.loads(sign_files("archive", FILES, OTHER_KEY))
    refused("the signature is wrong", document_bytes({**other, "public_key": PUBLIC}))


def test_a_bundles_signature_is_not_one_of_an_archive():
    refused("of kind 'archive', expected 'bundle'", kind="bundle")
    refused("the signature is wrong", changed(kind="bundle"), kind="bundle")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"files": {}}, "the signature is wrong"),
        ({"files": {**FILES, "more.py": "3" * 64}}, "the signature is wrong"),
        ({"files": {"net.py": "1"}}, "SHA-256"),
        ({"files": ["net.py"]}, "files"),
        ({"signature": base64.b64encode(bytes(64)).decode()}, "the signature is wrong"),
        ({"signature": json.loads(DOCUMENT)["signature"][:-4]}, "the signature is wrong"),
        ({"signature": "?"}, "the signature is wrong"),
        ({"signature": None}, "signature"),
        ({"public_key": "short"}, "expected an Ed25519 public key"),
        ({"algorithm": "none"}, "algorithm: 'none', expected one of Ed25519"),
        ({"format_version": 2}, "format_version: 2, expected 1"),
        ({"kind": "letter"}, "kind"),
        ({"more": 1}, "more: unknown field"),
    ],
)
def test_a_changed_document_is_refused(fields, match):
    refused(match, changed(**fields))


def test_a_document_is_written_in_one_way_only():
    refused("the signature is wrong", DOCUMENT + b" ")
    refused("the signature is wrong", json.dumps(json.loads(DOCUMENT)).encode())
    text = json.loads(DOCUMENT)["signature"]
    last = text.rstrip("=")[-1]
    # The same 64 bytes: base64 does not use the lowest bits of the last digit.
    padded = text.replace(f"{last}==", f"{chr(ord(last) + 1)}==")
    assert base64.b64decode(padded) == base64.b64decode(text)
    refused("the signature is wrong", changed(signature=padded))


@pytest.mark.parametrize(
    "text",
    [
        None,
        3,
        "",
        "abc",
        "é" * 44,
        pytest.param(PUBLIC[:-1], id="a digit short"),
        pytest.param(PUBLIC + "=", id="padded"),
        pytest.param(PUBLIC + "\n", id="a line end"),
        pytest.param(" " + PUBLIC, id="a blank"),
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        bytes(32).hex(),
        pytest.param(f"ed25519:{PUBLIC}", id="with a prefix"),
    ],
)
def test_what_is_no_public_key(text):
    with pytest.raises(SignatureError, match=r"^here: .*expected an Ed25519 public key"):
        parse_public_key(text, "here")


def test_without_cryptography_nothing_is_trusted(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(SignatureError, match="'cryptography' is not installed"):
        verified()
