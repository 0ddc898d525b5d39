from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keys import OTHER_PUBLIC, PUBLIC
from torchserve_fire.errors import ConfigError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig, QuarantineConfig, load_config, parse_config

IMAGE = {"input": "image", "image_size": [32, 48], "mean": [0.5, 0, 1], "std": [1, 2, 0.5]}


def test_an_image_model(tmp_path):
    path = tmp_path / "model-config.yaml"
    path.write_text(
        "minWorkers: 1\n"
        "unknownToUs: {a: 1}\n"
        "handler:\n"
        "  input: image\n"
        "  image_size: [32, 48]\n"
        "  mean: [0.5, 0, 1]\n"
        "  std: [1, 2, 0.5]\n"
        "  topk: 3\n"
        "  model_class: Net\n"
        "  mode: observe\n"
        "  allow_other_weights: true\n"
        "  flag_in_body: yes\n"
        "  example: one.json\n"
    )
    config = load_config(path)
    assert config == HandlerConfig(
        "image",
        (32, 48),
        (0.5, 0.0, 1.0),
        (1.0, 2.0, 0.5),
        3,
        "Net",
        "observe",
        allow_other_weights=True,
        flag_in_body=True,
        example="one.json",
    )
    assert config.describe_input() == InputDescription(
        "image", (3, 32, 48), (0.5, 0.0, 1.0), (1.0, 2.0, 0.5)
    )


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "model-config.yaml"
    path.write_text("handler: {input: tensor}\n", encoding="utf-8-sig")
    assert load_config(path) == HandlerConfig("tensor")


def test_what_holds_where_nothing_is_said():
    config = parse_config({"handler": IMAGE})
    assert (config.topk, config.model_class, config.mode) == (5, None, "repair")
    assert not config.allow_other_weights
    assert not config.flag_in_body


def test_a_greyscale_model():
    config = parse_config({"handler": IMAGE | {"mean": [0], "std": [1]}})
    assert config.describe_input().shape == (1, 32, 48)


def test_only_integers_have_a_bound():
    config = parse_config({"handler": {"input": "integers", "integers_below": 9}})
    assert config.integers_below == 9
    with pytest.raises(ConfigError, match="integers_below: unknown field"):
        parse_config({"handler": {"input": "tensor", "integers_below": 9}})
    with pytest.raises(ConfigError, match="integers_below: 0, expected an integer of at least 1"):
        parse_config({"handler": {"input": "integers", "integers_below": 0}})


@pytest.mark.parametrize("kind", ["tensor", "integers"])
def test_a_tensor_model_takes_its_shape_from_elsewhere(kind):
    config = parse_config({"handler": {"input": kind}})
    assert config.describe_input((3, 4)) == InputDescription(kind, (3, 4))
    with pytest.raises(ConfigError, match="shape of a sample"):
        config.describe_input()


def test_trusted_keys():
    assert parse_config({"handler": IMAGE}).trusted_keys == ()
    keys = [PUBLIC, OTHER_PUBLIC]
    assert parse_config({"handler": IMAGE | {"trusted_keys": keys}}).trusted_keys == tuple(keys)


@pytest.mark.parametrize(
    "value",
    [
        None,
        pytest.param(PUBLIC, id="no list"),
        [],
        {},
        [PUBLIC, None],
        [PUBLIC[:-2]],
        [[PUBLIC]],
        {PUBLIC: 1},
        False,
    ],
)
def test_trusted_keys_that_would_trust_nobody_or_are_none(value):
    with pytest.raises(ConfigError, match=r"handler: trusted_keys: .*expected .*public key"):
        parse_config({"handler": IMAGE | {"trusted_keys": value}})


@pytest.mark.parametrize("mode", ["repair", "observe", "reject", "off"])
def test_modes_as_yaml_reads_them(tmp_path, mode):
    path = tmp_path / "model-config.yaml"
    path.write_text(f"handler: {{input: tensor, mode: {mode}}}")
    assert load_config(path).mode == mode


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tokp": 5}, "tokp: unknown field; the nearest is topk"),
        ({7: 5}, "7: unknown field"),
        ({"profile": True}, "profile: unknown field"),
        ({"input": "images"}, "input: 'images', expected one of image, tensor"),
        ({"input": ["image"]}, "input"),
        ({"input": "tensor"}, "unknown field"),
        ({"image_size": 32}, "image_size"),
        ({"image_size": [32]}, "image_size"),
        ({"image_size": [32, 0]}, "image_size"),
        ({"image_size": [32, 1.5]}, "image_size"),
        ({"image_size": [32, True]}, "image_size"),
        ({"image_size": [32, 10**6]}, "image_size"),
        ({"mean": 0.5}, "mean"),
        ({"mean": [0.5, 0.5]}, "mean"),
        ({"mean": [0.5]}, "mean"),
        ({"mean": [0.5, "0", 0]}, "mean"),
        ({"mean": [float("nan"), 0, 0]}, "mean"),
        ({"std": [1, 1, 0]}, "std"),
        ({"std": [1, 1, -1]}, "std"),
        ({"std": [1, 1, float("inf")]}, "std"),
        ({"topk": 0}, "topk"),
        ({"topk": "5"}, "topk"),
        ({"topk": 2.0}, "topk"),
        ({"topk": True}, "topk"),
        ({"model_class": ""}, "model_class"),
        ({"model_class": 3}, "model_class"),
        ({"example": "folder/one.json"}, "example"),
        ({"example": 1}, "example"),
        ({"mode": True}, "mode"),
        ({"mode": None}, "mode"),
        ({"mode": ["repair"]}, "mode"),
        ({"mode": "Repair"}, "mode"),
        ({"allow_other_weights": "yes"}, "allow_other_weights"),
        ({"flag_in_body": 1}, "flag_in_body"),
        ({"quarantine": "/q"}, "quarantine"),
        ({"quarantine": {}}, "quarantine: folder: missing"),
        ({"quarantine": {"folder": "q"}}, "'q', expected an absolute path"),
        ({"quarantine": {"folder": "/q", "max_days": 0}}, "max_days: 0, expected more than 0"),
        ({"quarantine": {"folder": "/q", "max_files": 1}}, "max_files: unknown field"),
    ],
)
def test_a_wrong_setting_is_named(change, field):
    with pytest.raises(ConfigError) as raised:
        parse_config({"handler": IMAGE | change}, "c.yaml")
    assert str(raised.value).startswith("c.yaml: handler: ")
    assert field in str(raised.value)


@pytest.mark.parametrize("field", IMAGE)
def test_a_missing_setting_is_named(field):
    settings = {key: value for key, value in IMAGE.items() if key != field}
    with pytest.raises(ConfigError, match=f"handler: {field}: missing"):
        parse_config({"handler": settings})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a map"),
        ("- 1", "expected a map"),
        ("a: 1", "handler: missing"),
        ("handler:", "handler: None, expected a map"),
        ("handler: [1]", "expected a map"),
        ("a: [", "(line 1), expected the node content, but found '<stream end>' (line 1)"),
        ("a: 'x\nb: 2", "scalar (line 1), found unexpected end of stream (line 2)"),
        ("a: 1\n---\nb: 1", "expected a single document in the stream (line 1), but found another"),
        ("a: !!python/object/apply:os.getcwd []", "not a YAML file"),
        ("[" * 5000, "not a YAML file"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, text, reason):
    path = tmp_path / "model-config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert reason in str(raised.value)
    assert str(raised.value).splitlines() == [str(raised.value)]


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such file, expected a model-config"):
        load_config(tmp_path / "gone.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ConfigError, match="not a YAML file"):
        load_config(tmp_path / "binary.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
FIELDS = [
    *IMAGE,
    "topk",
    "model_class",
    "mode",
    "allow_other_weights",
    "flag_in_body",
    "quarantine",
    "trusted_keys",
    "other",
]


@given(st.sampled_from(FIELDS), VALUES)
def test_any_value_is_taken_or_refused_in_one_line(field, value):
    try:
        config = parse_config({"handler": IMAGE | {field: value}})
    except ConfigError as raised:
        message = str(raised)
    else:
        described = config.describe_input((2,) if config.input == "tensor" else None)
        assert all(size > 0 for size in described.shape)
        assert config.topk >= 1
        return
    assert message.splitlines() == [message]


def test_a_quarantine_has_bounds_of_its_own_unless_given():
    config = parse_config({"handler": {**IMAGE, "quarantine": {"folder": "/q", "max_days": 2}}})
    assert config.quarantine == QuarantineConfig(Path("/q"), 100.0, 2.0)
