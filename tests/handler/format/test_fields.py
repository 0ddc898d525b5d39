import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_fire.errors import BundleError, ConfigError
from torchserve_fire.format.fields import Fields, shown

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TAKERS = {
    "text": lambda f: f.text("x"),
    "choice": lambda f: f.choice("x", ("a", "b")),
    "sha256": lambda f: f.sha256("x"),
    "boolean": lambda f: f.boolean("x"),
    "integer": lambda f: f.integer("x"),
    "optional integer": lambda f: f.optional_integer("x"),
    "number": lambda f: f.number("x"),
    "numbers": lambda f: f.numbers("x"),
    "sizes": lambda f: f.sizes("x"),
    "null": lambda f: f.null("x"),
    "sha256 or null": lambda f: f.optional_sha256("x"),
    "mapping": lambda f: f.mapping("x"),
    "texts": lambda f: f.texts("x"),
    "fields": lambda f: f.fields("x"),
    "optional fields": lambda f: f.optional_fields("x"),
    "list of fields": lambda f: f.list_of_fields("x"),
}


def fields(value: object) -> Fields:
    return Fields({"x": value}, "file", BundleError)


@pytest.mark.parametrize(
    ("taker", "value", "taken"),
    [
        ("text", "a b", "a b"),
        ("choice", "b", "b"),
        ("sha256", "0f" * 32, "0f" * 32),
        ("boolean", False, False),
        ("integer", -(2**63), -(2**63)),
        ("optional integer", 5, 5),
        ("optional integer", None, None),
        ("number", 3, 3.0),
        ("numbers", [1, -2.5], [1.0, -2.5]),
        ("numbers", [], []),
        ("sizes", [1, 2**31 - 1], (1, 2**31 - 1)),
        ("null", None, None),
        ("mapping", {"a": [1]}, {"a": [1]}),
        ("texts", {"a": "b"}, {"a": "b"}),
        ("optional fields", None, None),
    ],
)
def test_good_values_are_taken(taker, value, taken):
    source = fields(value)
    result = TAKERS[taker](source)
    assert result == taken
    assert type(result) is type(taken)
    source.finish()


@pytest.mark.parametrize(
    ("taker", "value", "expected"),
    [
        ("text", "", "a text"),
        ("text", "\x1b[2J", "printable"),
        ("text", "a\nb", "printable"),
        ("text", 1, "a text"),
        ("choice", "c", "one of a, b"),
        ("choice", ["a"], "one of a, b"),
        ("choice", True, "one of a, b"),
        ("sha256", "0F" * 32, "a SHA-256"),
        ("sha256", "0f" * 32 + "\n", "a SHA-256"),
        ("sha256", "0" * 63, "a SHA-256"),
        ("boolean", 1, "true or false"),
        ("boolean", "true", "true or false"),
        ("integer", 1.0, "an integer"),
        ("integer", True, "an integer"),
        ("integer", 2**63, "an integer"),
        ("integer", 10**4000, "an integer"),
        ("number", True, "a finite number"),
        ("number", 1e39, "a finite number"),
        ("number", 10**4000, "a finite number"),
        ("number", math.nan, "a finite number"),
        ("number", -math.inf, "a finite number"),
        ("number", "1", "a finite number"),
        ("numbers", [1, False], "a list of finite numbers"),
        ("numbers", (1.0,), "a list of finite numbers"),
        ("sizes", [], "a list of positive sizes"),
        ("sizes", [0], "a list of positive sizes"),
        ("sizes", [2**31], "a list of positive sizes"),
        ("sizes", [True], "a list of positive sizes"),
        ("sizes", [1.0], "a list of positive sizes"),
        ("null", 0, "null"),
        ("mapping", [], "a map"),
        ("texts", {"a": 1}, "a text"),
        ("fields", None, "a map"),
        ("optional fields", [], "a map"),
        ("list of fields", [{}, 1], "a list of maps"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(taker, value, expected):
    with pytest.raises(BundleError) as caught:
        TAKERS[taker](fields(value))
    message = str(caught.value)
    assert message.startswith("file: x: ")
    assert ", expected " in message
    assert expected in message
    assert len(message) < 200


@pytest.mark.parametrize("taker", TAKERS)
def test_a_missing_field_is_named(taker):
    with pytest.raises(ConfigError, match=r"^file: x: missing$"):
        TAKERS[taker](Fields({"y": 1}, "file", ConfigError))


@pytest.mark.parametrize("taker", TAKERS)
@given(value=JSON)
def test_any_value_is_taken_or_refused_in_one_short_line(taker, value):
    message = ""
    try:
        TAKERS[taker](fields(value))
    except BundleError as error:
        message = str(error)
    assert message.isprintable()
    assert len(message) < 300


def test_an_integer_may_have_a_minimum():
    assert fields(0).integer("x", minimum=0) == 0
    with pytest.raises(BundleError, match="-1, expected an integer of at least 0"):
        fields(-1).integer("x", minimum=0)


def test_what_may_be_null_need_not_be():
    assert fields(None).optional_sha256("x") is None
    assert fields("0f" * 32).optional_sha256("x") == "0f" * 32
    with pytest.raises(BundleError, match="x: 0, expected null"):
        fields(0).null("x")


def test_what_nothing_took_is_refused_by_its_whole_path():
    root = Fields({"a": {"b": [{"c": 1, "d": 2}]}}, "file", BundleError)
    inner = root.fields("a").list_of_fields("b")[0]
    inner.raw("c")
    assert inner.names() == ["d"]
    with pytest.raises(
        BundleError, match=r"^file: a: b\[0\]: d: unknown field; expected one of c$"
    ):
        inner.finish()


def test_an_unknown_field_is_named_beside_its_nearest():
    root = Fields({"input": 1, "tokp": 3}, "file", BundleError)
    root.raw("input")
    assert not root.has("topk")
    assert not root.has("mode")
    with pytest.raises(BundleError, match=r"^file: tokp: unknown field; the nearest is topk$"):
        root.finish()


def test_a_field_like_no_other_is_named_beside_all():
    root = Fields({"input": 1, "profile": 3}, "file", BundleError)
    root.raw("input")
    assert not root.has("topk")
    with pytest.raises(BundleError, match=r"profile: unknown field; expected one of input, topk$"):
        root.finish()


def test_a_field_is_taken_once():
    source = fields(1)
    assert source.has("x")
    assert source.peek("x") == 1
    assert source.integer("x") == 1
    assert not source.has("x")
    assert source.peek("x") is None


def test_the_mapping_given_is_left_as_it_was():
    values = {"x": 1}
    Fields(values, "file", BundleError).raw("x")
    assert values == {"x": 1}


def test_a_forged_name_does_not_break_the_line():
    with pytest.raises(BundleError) as caught:
        Fields({"a\nb\x1b\ud800": 1}, "file", BundleError).finish()
    assert str(caught.value) == r"file: 'a\nb\x1b\ud800': unknown field"


def test_large_values_are_shown_short():
    assert shown("a") == "'a'"
    assert len(shown("a" * 1000)) == 60
    assert shown(10**5000) == "a very large int"  # Python refuses to write it out.


def test_a_missing_field_names_the_one_that_is_meant():
    with pytest.raises(ConfigError, match=r"image_size: missing; did you mean it by img_size"):
        Fields({"img_size": [8, 8]}, "model-config.yaml", ConfigError).raw("image_size")
    with pytest.raises(ConfigError, match=r"image_size: missing$"):
        Fields({"mean": [0]}, "model-config.yaml", ConfigError).raw("image_size")


def test_a_name_that_is_meant_is_shown_so_that_it_can_be_printed():
    with pytest.raises(ConfigError, match=r"did you mean it by '\\x7fsignatures'") as caught:
        Fields({"\x7fsignatures": []}, "s.json", ConfigError).raw("signatures")
    assert str(caught.value).isprintable()
