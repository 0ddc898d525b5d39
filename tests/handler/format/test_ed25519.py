import base64
import sys

import pytest

from tests.keys import KEY, OTHER_KEY, OTHER_PUBLIC, PUBLIC
from torchserve_fire.errors import SignatureError
from torchserve_fire.format.ed25519 import check_signed, parse_public_key

DATA = b"some bytes"
SIGNATURE = base64.b64encode(KEY.sign(DATA)).decode()


def refused(match, data=DATA, signature=SIGNATURE, key=PUBLIC, trusted=(PUBLIC,)):
    with pytest.raises(SignatureError, match=match) as caught:
        check_signed(data, signature, key, trusted, "s.json")
    assert len(str(caught.value).splitlines()) == 1


def test_what_a_trusted_key_has_signed():
    check_signed(DATA, SIGNATURE, PUBLIC, [OTHER_PUBLIC, PUBLIC], "s.json")


def test_the_key_must_be_trusted_and_must_have_signed():
    refused(r"^s.json: signed by .* which is not trusted; trusted: ", trusted=(OTHER_PUBLIC,))
    refused("not trusted", trusted=())
    other = base64.b64encode(OTHER_KEY.sign(DATA)).decode()
    refused("^s.json: the signature is wrong", signature=other)
    refused("the signature is wrong", key=OTHER_PUBLIC, trusted=(PUBLIC, OTHER_PUBLIC))
    refused("the signature is wrong", data=DATA + b" ")


@pytest.mark.parametrize(
    "text",
    ["", "?", "é", SIGNATURE[:-4], SIGNATURE + "\n", SIGNATURE * 2],
    # The key, and so the signature, is another in each process.
    ids=["empty", "no base64", "no ASCII", "shorter", "line end", "twice"],
)
def test_what_is_no_signature(text):
    refused("the signature is wrong", signature=text)


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
    refused("'cryptography' is not installed")
