import json

import pytest

from torchserve_fire.errors import BundleError
from torchserve_fire.format.json_object import MAX_DEPTH, parse_json_object


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":1e999}', "not JSON compliant"),
        (b'{"a":-Infinity}', "-Infinity is not a JSON number"),
        (b'{"a":{"b":1,"b":1}}', "a key stands there twice"),
        (b'{"a":["\\udc00\\ud800"]}', "surrogates not allowed"),
        (b"null", "found NoneType"),
        (b'{"a":1,}', "expected a JSON object"),
        (b'{"a":"\n"}', "Invalid control character"),
    ],
)
def test_json_that_python_would_let_pass(text, reason):
    with pytest.raises(BundleError) as caught:
        parse_json_object(text, "where")
    assert str(caught.value).startswith("where: ")
    assert reason in str(caught.value)


def test_json_of_a_real_depth_and_whole_surrogate_pairs():
    value = {"\U0001f525": 1}
    for _ in range(MAX_DEPTH - 1):
        value = {"a": value}
    assert parse_json_object(json.dumps(value).encode(), "where") == value
