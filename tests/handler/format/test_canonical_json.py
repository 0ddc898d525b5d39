import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical

from torchserve_fire.format.canonical_json import canonical_json

# Where RFC 8785 and the canonical JSON of securesystemslib agree.
TEXTS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cc", "Cs"]))


def nested(leaves):
    return st.recursive(leaves, lambda x: st.lists(x) | st.dictionaries(TEXTS, x))


def test_keys_are_sorted_as_in_rfc_8785():
    # Section 3.2.3; a code point above 0xFFFF stands before U+FB33.
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    expected = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical_json(dict.fromkeys(keys)))) == expected


def test_texts_are_escaped_as_in_rfc_8785():
    text = '\u20ac$\u000f\nA\'B"\\\\"/\b\t\r\f\x7f'
    expected = '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\\b\\t\\r\\f\x7f"'
    assert canonical_json(text) == expected.encode()


def test_nothing_stands_between():
    value = {"b": [1, {"d": None, "c": True}], "a": {}}
    assert canonical_json(value) == b'{"a":{},"b":[1,{"c":true,"d":null}]}'


@given(nested(st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS))
def test_as_securesystemslib_writes_it(value):
    assert canonical_json(value) == encode_canonical(value).encode()


def test_half_a_surrogate_pair_is_refused():
    for value in ("\ud800", {"\ud800": 1}):
        with pytest.raises(UnicodeEncodeError):
            canonical_json(value)
