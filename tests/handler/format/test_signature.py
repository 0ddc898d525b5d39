import base64
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner, SSlibKey

from tests.keys import KEY, OTHER_KEY, OTHER_PUBLIC, PUBLIC
from torchserve_fire.errors import SignatureError
from torchserve_fire.format.canonical_json import canonical_json
from torchserve_fire.format.signature import (
    MAX_BYTES,
    PAYLOAD_TYPE,
    files_payload,
    is_of_version_1,
    read_signature,
    signed_bytes,
    verify_signature,
)
from torchserve_fire_build.signing.signing_key import sign_files

# The question marks have a slash in base64.
FILES = {"net.py": "1" * 64, "folder/w.pth": "2" * 64, "?????": "3" * 64}
PAYLOAD = {"files": FILES, "format_version": 2, "kind": "archive"}
DOCUMENT = sign_files("archive", FILES, KEY)
HUGE = b"9" * 5000


def verified(data=DOCUMENT, kind="archive", keys=(PUBLIC,)):
    return verify_signature(data, kind, keys, "s.json")


def refused(match, data=DOCUMENT, kind="archive", keys=(PUBLIC,)):
    with pytest.raises(SignatureError, match=match) as caught:
        verified(data, kind, keys)
    assert str(caught.value).startswith("s.json: ")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


def text_of(data):
    return base64.b64encode(data).decode()


def envelope(**fields):
    """The envelope with other fields, and the signature that it had."""
    return canonical_json({**json.loads(DOCUMENT), **fields})


def signature(**fields):
    """What the envelope's signature holds, with other fields."""
    return {**json.loads(DOCUMENT)["signatures"][0], **fields}


def signed(payload, payload_type=PAYLOAD_TYPE, key=KEY, keyid=PUBLIC):
    """An envelope of any payload, signed as DSSE has it."""
    made = Envelope(payload, payload_type, {})
    public = SSlibKey.from_crypto(key.public_key(), keyid=keyid)
    made.sign(CryptoSigner(key, public))
    return json.dumps(made.to_dict(), separators=(",", ":")).encode()


def test_what_was_signed_comes_back():
    assert verified() == FILES
    assert verified(keys=(OTHER_PUBLIC, PUBLIC)) == FILES


def test_the_same_files_and_key_give_the_same_bytes():
    assert sign_files("archive", dict(reversed(FILES.items())), KEY) == DOCUMENT
    assert sign_files("archive", FILES, OTHER_KEY) != DOCUMENT


def test_the_document_is_an_envelope_of_canonical_json():
    values = json.loads(DOCUMENT)
    assert canonical_json(values) == DOCUMENT
    assert list(values) == ["payload", "payloadType", "signatures"]
    assert values["payloadType"] == "application/vnd.torchserve-fire.files+json"
    assert [entry["keyid"] for entry in values["signatures"]] == [PUBLIC]
    payload = base64.b64decode(values["payload"])
    assert payload == canonical_json(PAYLOAD) == files_payload("archive", FILES)
    assert not is_of_version_1(DOCUMENT, "s.json")


# securesystemslib, whose envelope is the reference -----------------------------

PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
KINDS = st.sampled_from(["archive", "bundle"])
THEIR_KEY = SSlibKey.from_crypto(KEY.public_key(), keyid=PUBLIC)


@given(KINDS, st.dictionaries(PATHS, DIGESTS, max_size=6))
def test_securesystemslib_verifies_what_is_written_here(kind, files):
    document = sign_files(kind, files, KEY)
    theirs = Envelope.from_dict(json.loads(document))
    assert theirs.pae() == signed_bytes(theirs.payload)
    assert theirs.verify([THEIR_KEY], 1) == {PUBLIC: THEIR_KEY}
    assert json.loads(theirs.payload) == {"kind": kind, "files": files, "format_version": 2}
    other = SSlibKey.from_crypto(OTHER_KEY.public_key(), keyid=PUBLIC)
    with pytest.raises(VerificationError):
        theirs.verify([other], 1)
    assert verified(document, kind) == files


# Control characters and those above 0xFFFF are written otherwise there.
THEIR_PATHS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cc", "Cs"]))


@given(KINDS, st.dictionaries(THEIR_PATHS, DIGESTS, max_size=6))
def test_what_securesystemslib_writes_is_verified_here(kind, files):
    payload = encode_canonical({"kind": kind, "files": files, "format_version": 2}).encode()
    assert verified(signed(payload), kind) == files
    assert signed(payload) == sign_files(kind, files, KEY)


# Damage ------------------------------------------------------------------------


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


@given(st.binary(max_size=80), st.integers(0, len(DOCUMENT)))
def test_bytes_put_in_are_refused(more, position):
    data = DOCUMENT[:position] + more + DOCUMENT[position:]
    if data != DOCUMENT:
        with pytest.raises(SignatureError) as caught:
            verified(data)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "damaged"),
        (b"null", "expected a JSON object"),
        (b"[" * 100_000, "damaged"),
        (b"{}", "payloadType: missing"),
        (DOCUMENT.replace(b"{", b'{"payload":"",', 1), "a key stands there twice"),
        (DOCUMENT.replace(b'{"keyid', b'{"sig":"","keyid'), "a key stands there twice"),
        (b'{"payload":' + HUGE + b"}", "damaged"),
        (b'{"payload":' + HUGE[:4000] + b',"payloadType":"' + PAYLOAD_TYPE.encode() + b'"}', "pay"),
        (b'{"payload":1e999}', "damaged"),
        (b'{"payload":NaN}', "NaN is not a JSON number"),
        (b'{"payload":"\\ud800"}', "damaged"),
        (DOCUMENT + b" " * MAX_BYTES, r"over 4,194,304 bytes"),
    ],
)
def test_what_is_no_envelope(data, match):
    refused(match, data)


def test_of_a_file_that_is_too_large_no_more_is_read_than_refuses_it(tmp_path):
    path = tmp_path / "s.json"
    path.write_bytes(DOCUMENT)
    assert read_signature(path) == DOCUMENT
    os.truncate(path, 1 << 33)
    assert len(read_signature(path)) == MAX_BYTES + 1


# Envelopes that nobody with the key has made --------------------------------------


def test_another_key_is_named():
    refused("is not trusted", sign_files("archive", FILES, OTHER_KEY))
    refused(OTHER_PUBLIC[:20].replace("+", r"\+"), sign_files("archive", FILES, OTHER_KEY))


def test_the_key_that_is_named_must_have_signed():
    payload = canonical_json(PAYLOAD)
    both = (PUBLIC, OTHER_PUBLIC)
    refused("the signature is wrong", signed(payload, key=OTHER_KEY, keyid=PUBLIC))
    refused("the signature is wrong", signed(payload, keyid=OTHER_PUBLIC), keys=both)
    refused("is not trusted", signed(payload, keyid=OTHER_PUBLIC))
    for keyid in ("", "short", PUBLIC[:-1], PUBLIC + "=", base64.b64decode(PUBLIC).hex(), None, 1):
        changed = envelope(signatures=[signature(keyid=keyid)])
        refused("keyid: .*expected an Ed25519 public key", changed)


def test_the_type_of_the_payload_is_signed_and_must_be_ours():
    theirs = "application/vnd.in-toto+json"
    other = signed(canonical_json(PAYLOAD), theirs)
    refused(f"payloadType: .*expected one of {PAYLOAD_TYPE[:20]}", other)
    relabelled = {**json.loads(other), "payloadType": PAYLOAD_TYPE}
    refused("the signature is wrong", canonical_json(relabelled))
    refused("payloadType", envelope(payloadType=theirs))
    refused("payloadType", envelope(payloadType=PAYLOAD_TYPE.upper()))
    refused("payloadType", envelope(payloadType=None))


def test_the_payload_alone_is_not_what_is_signed():
    payload = canonical_json(PAYLOAD)
    bare = signature(sig=text_of(KEY.sign(payload)))
    refused("the signature is wrong", envelope(signatures=[bare]))
    assert verified(envelope(signatures=[signature(sig=text_of(KEY.sign(signed_bytes(payload))))]))


def test_there_is_exactly_one_signature():
    one = signature()
    other = json.loads(sign_files("archive", FILES, OTHER_KEY))["signatures"][0]
    both = (PUBLIC, OTHER_PUBLIC)
    for several in ([], [one, one], [one, other], [other, one]):
        match = f"signatures: {len(several)}, expected one"
        refused(match, envelope(signatures=several), keys=both)
    refused("signatures: .*expected a list of maps", envelope(signatures=one))
    refused("signatures: .*expected a list of maps", envelope(signatures=[one["sig"]]))


def test_a_bundles_signature_is_not_one_of_an_archive():
    refused("of kind 'archive', expected 'bundle'", kind="bundle")
    changed = canonical_json({**PAYLOAD, "kind": "bundle"})
    refused("the signature is wrong", envelope(payload=text_of(changed)), kind="bundle")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"nonsense",
        canonical_json(PAYLOAD) + b"\n",
        canonical_json({**PAYLOAD, "files": {}}),
        canonical_json({**PAYLOAD, "files": {**FILES, "more.py": "4" * 64}}),
    ],
)
def test_a_changed_payload_is_refused_unread(payload):
    match = "the signature is wrong" if payload else "payload: '', expected a text"
    refused(match, envelope(payload=text_of(payload)))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"signatures": [signature(sig=text_of(bytes(64)))]}, "the signature is wrong"),
        ({"signatures": [signature(sig=signature()["sig"][:-4])]}, "the signature is wrong"),
        ({"signatures": [signature(sig="?")]}, "the signature is wrong"),
        ({"signatures": [signature(sig=None)]}, "sig"),
        ({"signatures": [signature(more=1)]}, r"signatures\[0\]: more: unknown field"),
        ({"signatures": [{"sig": signature()["sig"]}]}, "keyid: missing"),
        ({"signatures": [{"keyid": PUBLIC}]}, "sig: missing"),
        ({"payload": None}, "payload: None"),
        ({"payload": "?"}, "the signature is wrong"),
        ({"more": 1}, "s.json: more: unknown field"),
        ({"format_version": 2}, "format_version: 2, expected 1, or an envelope"),
        ({"format_version": 1}, "algorithm: missing"),
    ],
)
def test_a_changed_envelope_is_refused(fields, match):
    refused(match, envelope(**fields))


# What the key's own holder has signed in another form ---------------------------------


@pytest.mark.parametrize(
    ("payload", "match"),
    [
        (json.dumps(PAYLOAD).encode(), "not in canonical form"),
        (canonical_json(PAYLOAD) + b"\n", "not in canonical form"),
        (canonical_json(PAYLOAD).replace(b"net.py", b"net\\u002epy"), "not in canonical form"),
        (b'{"kind":"archive","files":{},"format_version":2}', "not in canonical form"),
        (canonical_json(PAYLOAD) + b"{}", "damaged"),
        (canonical_json(PAYLOAD)[:-1] + b',"kind":"archive"}', "a key stands there twice"),
        (canonical_json({**PAYLOAD, "more": 1}), "payload: more: unknown field"),
        (canonical_json({**PAYLOAD, "format_version": 1}), "format_version: 1, expected 2"),
        (canonical_json({**PAYLOAD, "format_version": 2.0}), "2.0, expected an integer"),
        (canonical_json({**PAYLOAD, "format_version": True}), "True, expected an integer"),
        (canonical_json({**PAYLOAD, "kind": "letter"}), "kind: 'letter', expected one of arch"),
        (canonical_json({**PAYLOAD, "files": ["net.py"]}), "files: .*expected a map"),
        (canonical_json({**PAYLOAD, "files": {"net.py": "1"}}), "net.py: '1', expected a SHA-256"),
        (canonical_json({**PAYLOAD, "files": {"net.py": "A" * 64}}), "expected a SHA-256"),
        (canonical_json({**PAYLOAD, "files": {"a\nb": None}}), "expected a SHA-256"),
        (canonical_json({"kind": "archive", "format_version": 2}), "files: missing"),
        (b"[]", "payload: expected a JSON object"),
        (b"\xff", "payload: damaged"),
        (b'{"format_version":' + HUGE + b"}", "payload: damaged"),
        (b'{"format_version":' + HUGE[:4000] + b"}", "format_version: .*expected an integer"),
        (b'{"format_version":1e999}', "payload: damaged"),
    ],
)
def test_a_payload_is_written_in_one_way_only(payload, match):
    refused(match, signed(payload))


def test_an_envelope_is_written_in_one_way_only():
    values = json.loads(DOCUMENT)
    for data in (
        DOCUMENT + b"\n",
        b" " + DOCUMENT,
        json.dumps(values).encode(),
        json.dumps(values, indent=2).encode(),
        canonical_json(values).replace(b"payloadType", b"payload\\u0054ype"),
        json.dumps(dict(reversed(values.items())), separators=(",", ":")).encode(),
    ):
        refused("not in canonical form", data)
    refused("damaged", DOCUMENT + DOCUMENT)
    refused("damaged", DOCUMENT + b"\0")


def test_base64_is_written_in_one_way_only():
    values = json.loads(DOCUMENT)
    # DSSE lets a reader take either alphabet.
    other = values["payload"].translate(str.maketrans("+/", "-_"))
    assert other != values["payload"]
    refused("the signature is wrong", envelope(payload=other))
    refused("payload: .*expected a text of print", envelope(payload=values["payload"] + "\n"))
    text = signature()["sig"]
    last = text.rstrip("=")[-1]
    # The same 64 bytes: base64 does not use the lowest bits of the last digit.
    padded = text.replace(f"{last}==", f"{chr(ord(last) + 1)}==")
    assert base64.b64decode(padded) == base64.b64decode(text)
    for changed in (padded, text.rstrip("="), text + "=", " " + text):
        refused("the signature is wrong", envelope(signatures=[signature(sig=changed)]))


def test_a_path_is_no_more_than_a_name():
    files = {"../é\n\U0001f600\x7f": "5" * 64, "": "6" * 64, "format_version": "7" * 64}
    assert verified(sign_files("archive", files, KEY)) == files
