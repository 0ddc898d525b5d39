"""Signatures in the form of version 1, written by the code of its time: they stay readable."""

import base64
import json
from pathlib import Path

import pytest

from tests.handler.format.signed_version_1 import document_version_1, sign_version_1
from tests.keys import KEY, OTHER_KEY, OTHER_PUBLIC, PUBLIC
from torchserve_fire.errors import SignatureError
from torchserve_fire.format.canonical_json import canonical_json
from torchserve_fire.format.signature import PAYLOAD_TYPE, is_of_version_1, verify_signature

DATA = Path(__file__).with_name("data")
THEIR_KEY = "yNKiLwEXCsDjs7ggOGKphYyoThkpI5sP5prj3r9RH0I="
ARCHIVE = (DATA / "signature_version_1_archive.json").read_bytes()
BUNDLE = (DATA / "signature_version_1_bundle.json").read_bytes()
FILES = {"net.py": "1" * 64, "folder/w.pth": "2" * 64, "café \U0001f600.txt": "3" * 64}


def verified(data=ARCHIVE, kind="archive", keys=(THEIR_KEY,)):
    return verify_signature(data, kind, keys, "s.json")


def refused(match, data=ARCHIVE, kind="archive", keys=(THEIR_KEY,)):
    with pytest.raises(SignatureError, match=match) as caught:
        verified(data, kind, keys)
    assert str(caught.value).startswith("s.json: ")
    assert len(str(caught.value).splitlines()) == 1


def changed(**fields):
    return document_version_1({**json.loads(ARCHIVE), **fields})


def test_what_was_signed_comes_back():
    assert verified() == FILES
    assert verified(keys=(PUBLIC, THEIR_KEY)) == FILES
    assert verified(BUNDLE, "bundle") == {"bundle.safetensors": "4" * 64}
    assert is_of_version_1(ARCHIVE, "s.json")


def test_the_tests_sign_as_it_was_signed():
    document = json.loads(sign_version_1("archive", FILES, KEY))
    document.update({name: json.loads(ARCHIVE)[name] for name in ("public_key", "signature")})
    assert document_version_1(document) == ARCHIVE
    assert verified(sign_version_1("archive", FILES, KEY), keys=(PUBLIC,)) == FILES


def test_every_flipped_bit_is_refused():
    for position in range(len(ARCHIVE)):
        for bit in range(8):
            data = bytearray(ARCHIVE)
            data[position] ^= 1 << bit
            with pytest.raises(SignatureError):
                verified(bytes(data))


def test_every_truncation_is_refused():
    for length in range(len(ARCHIVE)):
        with pytest.raises(SignatureError):
            verified(ARCHIVE[:length])


def test_another_key_is_named():
    refused("is not trusted", keys=(PUBLIC,))
    refused(OTHER_PUBLIC[:20].replace("+", r"\+"), sign_version_1("archive", FILES, OTHER_KEY))


def test_a_trusted_name_on_anothers_signature_is_refused():
    other = json.loads(sign_version_1("archive", FILES, OTHER_KEY))
    renamed = document_version_1({**other, "public_key": PUBLIC})
    refused("the signature is wrong", renamed, keys=(PUBLIC,))


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
        ({"signature": json.loads(ARCHIVE)["signature"][:-4]}, "the signature is wrong"),
        ({"signature": "?"}, "the signature is wrong"),
        ({"signature": None}, "signature"),
        ({"public_key": "short"}, "expected an Ed25519 public key"),
        ({"algorithm": "none"}, "algorithm: 'none', expected one of Ed25519"),
        ({"format_version": 2}, "format_version: 2, expected 1"),
        ({"format_version": 10**4000}, "format_version: .*expected an integer"),
        ({"format_version": True}, "format_version: True, expected an integer"),
        ({"kind": "letter"}, "kind"),
        ({"more": 1}, "more: unknown field"),
        ({"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": []}, "unknown field"),
    ],
)
def test_a_changed_document_is_refused(fields, match):
    refused(match, changed(**fields))


def test_a_document_is_written_in_one_way_only():
    refused("not in canonical form", ARCHIVE + b" ")
    refused("not in canonical form", json.dumps(json.loads(ARCHIVE)).encode())
    refused("a key stands there twice", ARCHIVE.replace(b"{", b'{"kind": "archive",', 1))
    text = json.loads(ARCHIVE)["signature"]
    padded = text.replace("Bg==", "Bh==")
    assert padded != text
    assert base64.b64decode(padded) == base64.b64decode(text)
    refused("the signature is wrong", changed(signature=padded))


def test_its_signature_is_none_of_an_envelope():
    document = json.loads(sign_version_1("archive", FILES, KEY))
    signature = document.pop("signature")
    payload = base64.b64encode(document_version_1(document)).decode()
    envelope = {
        "payload": payload,
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": PUBLIC, "sig": signature}],
    }
    refused("the signature is wrong", canonical_json(envelope), keys=(PUBLIC,))
