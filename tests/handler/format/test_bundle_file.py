import hashlib
import json
import os
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from tests.handler.bundles import (
    body_of,
    bundle_file,
    content_of,
    forged,
    header_of,
    overlay_bundle,
    raw_file,
    small_bundle,
    warp_bundle,
    with_metadata,
    with_tensors,
)
from torchserve_fire.errors import BundleError
from torchserve_fire.format.bundle import INPUT_LAYER, Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.bundle_file import bundle_to_parts, load_bundle, parse_bundle
from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.format.correction_forms import Clamp, Overlay, Shift, Warp
from torchserve_fire.format.resizing import Resizing
from torchserve_fire.format.tensor_digest import tensor_sha256


def refusal(data: bytes) -> str:
    """The message with which a file is refused; fails where it is not refused in one line."""
    with pytest.raises(BundleError) as caught:
        parse_bundle(data, "b.safetensors")
    message = str(caught.value)
    assert message.startswith("b.safetensors: ")
    assert message.isprintable()
    assert len(message) < 400
    return message


def check_refused_or_harmless(data: bytes) -> None:
    """Fail where a changed file is read as something else, or refused in another way."""
    try:
        read = parse_bundle(data, "b.safetensors")
    except BundleError as error:
        message = str(error)
    else:
        assert content_of(read) == content_of(small_bundle())
        assert read.digest == hashlib.sha256(data).hexdigest()
        return
    assert message.startswith("b.safetensors: ")
    assert message.isprintable()
    assert len(message) < 400


def test_what_is_written_is_read():
    data = bundle_file()
    read = parse_bundle(data, "b.safetensors")
    assert content_of(read) == content_of(small_bundle())
    assert read.digest == hashlib.sha256(data).hexdigest()
    assert read.input == small_bundle().input
    assert read.evidence == small_bundle().evidence
    assert read.held_out == {"clean_accuracy": 0.75}
    assert read.versions == {"torch": "2"}
    assert (read.target, read.seed, read.model_class) == (2, 7, "Net")
    for ours, theirs in zip(read.layers, small_bundle().layers, strict=True):
        assert (ours.name, ours.feature_shape, ours.role) == (
            theirs.name,
            theirs.feature_shape,
            theirs.role,
        )
    assert [layer.role for layer in read.layers] == ["detects", *["repairs"] * 4]
    assert read.detecting_layers == read.layers[:1]
    assert read.targets == (2,)
    assert read.repairing_layers == read.layers[1:]
    assert read.layers[2].correction.threshold == 2.0
    assert read.layers[2].correction.anchor == -0.25


@st.composite
def bundles(draw):
    number = st.floats(-1e6, 1e6)
    names = draw(st.lists(st.text("abc.0é", min_size=1), min_size=1, max_size=3, unique=True))
    detecting_at = draw(st.integers(-1, len(names) - 1))

    def direction(shape):
        of = [draw(st.sampled_from((1, size))) for size in shape]
        return torch.randn(of, generator=torch.Generator().manual_seed(draw(st.integers(0, 9)))) + 9

    layers = []
    for i, name in enumerate(names):
        shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
        detects = i == detecting_at
        repairs = not detects or len(names) == 1 or draw(st.booleans())
        scores = draw(st.none() | st.lists(number, min_size=1, max_size=20))
        clean = None if scores is None else CleanScores.of(torch.tensor(scores))
        only_target = draw(st.booleans())
        anywhere = len(shape) == 3 and draw(st.booleans())
        detection = None
        if detects:
            detection = Detection(direction(shape), draw(number), only_target, clean, anywhere)
        strength = draw(st.floats(0.1, 3))
        correction = Shift(direction(shape), strength) if repairs else None
        if repairs and draw(st.booleans()):
            correction = Clamp(direction(shape), strength, draw(number), draw(number))
        layers.append(Layer(name, shape, detection, correction))
    return replace(
        small_bundle(), layers=tuple(layers), seed=draw(st.integers(-(2**63), 2**63 - 1))
    )


@settings(max_examples=200, deadline=None)
@given(bundle=bundles())
def test_any_bundle_comes_back_equal(bundle):
    data = bundle_file(bundle)
    read = parse_bundle(data, "b.safetensors")
    assert content_of(read) == content_of(bundle)
    assert bundle_file(read) == data


CROPPED = Resizing((10, 12), True, "bicubic", antialias=False)


@pytest.mark.parametrize(
    "resizing",
    [CROPPED, Resizing(10, True), Resizing(None, True), Resizing(interpolation="box")],
)
def test_how_images_are_resized_comes_back_equal(resizing):
    described = replace(small_bundle().input, resizing=resizing)
    data = bundle_file(replace(small_bundle(), input=described))
    assert parse_bundle(data, "b.safetensors").input == described


def test_how_images_are_resized_is_only_said_where_they_are_not_squashed():
    assert b"resizing" not in bundle_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize": 0}, "resize: 0, expected pixels"),
        ({"resize": 10**9}, "resize: 1000000000, expected pixels"),
        ({"crop": None}, "crop: None, expected true or false"),
        ({"crop": False}, "resize: (10, 12), expected null where images are not cropped"),
        ({"interpolation": "box"}, "antialias: False, expected true with interpolation: box"),
        ({"interpolation": "linear"}, "interpolation: 'linear', expected one of"),
        ({"sharpen": True}, "sharpen: unknown field"),
    ],
)
def test_a_fault_in_how_images_are_resized_is_named(change, message):
    stored = {**CROPPED.stored(), **change}
    data = with_metadata(lambda root: root["input"].update(resizing=stored))
    assert f"b.safetensors: input: resizing: {message}" in refusal(data)


def test_only_images_are_resized():
    def change(root):
        root["input"] = {"kind": "tensor", "shape": [3, 8, 8], "mean": [], "std": []}
        root["input"]["resizing"] = CROPPED.stored()

    assert "input: resizing: unknown field" in refusal(with_metadata(change))


def test_load_bundle_names_the_file(tmp_path):
    path = tmp_path / "b.safetensors"
    with pytest.raises(
        BundleError, match=r"b\.safetensors: no such file, expected a direction bundle$"
    ):
        load_bundle(path)
    with pytest.raises(BundleError, match="cannot read the bundle: Is a directory"):
        load_bundle(tmp_path)
    path.write_bytes(bundle_file()[:-1])
    with pytest.raises(BundleError, match=r"^b\.safetensors: .*truncated"):
        load_bundle(str(path))
    path.write_bytes(bundle_file())
    assert content_of(load_bundle(path)) == content_of(small_bundle())


def test_a_pickle_is_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "b.safetensors"
    torch.save({"a": Bomb()}, path)
    with pytest.raises(BundleError, match="not a direction bundle"):
        load_bundle(path)


# Mutations -----------------------------------------------------------------------------------


def test_every_cut_is_refused():
    data = bundle_file()
    for size in range(len(data)):
        refusal(data[:size])


def test_every_byte_flipped_check_refused_or_harmless():
    data = bundle_file()
    random_bits = random.Random(0)  # noqa: S311
    for position in range(len(data)):
        for value in (data[position] ^ (1 << random_bits.randrange(8)), random_bits.randrange(256)):
            changed = bytearray(data)
            changed[position] = value
            check_refused_or_harmless(bytes(changed))


def test_every_byte_of_a_tensor_is_covered_by_its_digest():
    data = bundle_file()
    start = len(data) - len(body_of(data))
    for position in range(start, len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            assert "its bytes do not match their SHA-256" in refusal(bytes(changed))


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_bytes_cut_out_put_in_and_repeated(data):
    file = bundle_file()
    first, second = sorted(
        (data.draw(st.integers(0, len(file))), data.draw(st.integers(0, len(file))))
    )
    put = data.draw(st.sampled_from((b"", b"\0", b" ", b"{}", file[first:second] * 2)))
    check_refused_or_harmless(file[:first] + put + file[second:])


def paths(value, path=()):
    """Every place in a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(item, (*path, key))


def changed_at(value, path, change):
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed_at(value[path[0]], path[1:], change)
    return copy


STRANGE = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    10**3000,
    0.5,
    -0.0,
    1e308,
    "",
    "x",
    "é\n\x1b",
    "a" * 100_000,
    [],
    [[]],
    [0],
    [1] * 1000,
    {},
    {"x": 1},
    [[[[[[[[[[1]]]]]]]]]],
)
ROOT = json.loads(bundle_to_parts(small_bundle())[1]["fire"])


@pytest.mark.parametrize("strange", STRANGE, ids=lambda value: repr(value)[:12])
@pytest.mark.slow
def test_every_field_replaced_by_anything_is_refused_or_taken_as_it_stands(strange):
    # 65 places and 23 values: some 1,500 forged files with a valid header of the right length.
    for path in paths(ROOT):
        root = changed_at(ROOT, path, lambda _: strange)
        file = forged(root)
        try:
            read = parse_bundle(file, "b.safetensors")
        except BundleError as error:
            message = str(error)
            assert message.startswith("b.safetensors: ")
            assert message.isprintable()
            assert len(message) < 400
        else:
            # Taken: then it says what the text says, with nothing made of it.
            written = json.loads(bundle_to_parts(read)[1]["fire"])
            assert {**written, "metadata_sha256": ""} == {**root, "metadata_sha256": ""}


@pytest.mark.parametrize("path", list(paths(ROOT))[1:], ids=lambda path: ".".join(map(str, path)))
def test_every_field_left_out_is_refused(path):
    def without(value):
        return {k: v for k, v in value.items() if k != path[-1]}

    parent = ROOT
    for key in path[:-1]:
        parent = parent[key]
    if isinstance(parent, dict) and path[:-1] not in {("evidence",), ("held_out",), ("versions",)}:
        assert f"{path[-1]}: missing" in refusal(forged(changed_at(ROOT, path[:-1], without)))


@pytest.mark.parametrize(
    "path", [p for p in paths(ROOT) if p[:1] not in {("evidence",), ("held_out",), ("versions",)}]
)
def test_a_field_too_many_is_refused_by_its_name(path):
    value = ROOT
    for key in path:
        value = value[key]
    if not isinstance(value, dict):
        return
    message = refusal(forged(changed_at(ROOT, path, lambda fields: {**fields, "sidecar": 1})))
    if path == ("tensors",):
        assert "tensors: sidecar: the file holds no such tensor" in message
    else:
        assert "sidecar: unknown field; expected one of " in message


def test_a_field_that_stands_there_twice():
    text = json.dumps(ROOT)
    for key in ("target", "layers", "form", "detection"):
        doubled = text.replace(f'"{key}":', f'"{key}": 0, "{key}":', 1)
        assert "a key stands there twice" in refusal(with_metadata(doubled))


# Each fault by name --------------------------------------------------------------------------


def set_layer(i, **values):
    return with_metadata(lambda root: root["layers"][i].update(values))


def set_part(i, part, **values):
    return with_metadata(lambda root: root["layers"][i][part].update(values))


def set_clean_scores(**values):
    return with_metadata(lambda root: root["layers"][0]["detection"]["clean_scores"].update(values))


def set_input(**values):
    return with_metadata(lambda root: root["input"].update(values))


def set_weights(**values):
    return with_metadata(lambda root: root["weights"].update(values))


def set_root(**values):
    return with_metadata(lambda root: root.update(values))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (set_root(format_version=5), "format_version: 5, expected 1 to 4; build the bundle again"),
        (set_root(format_version=0), "format_version: 0, expected 1 to 4"),
        (set_root(format_version=True), "format_version: True, expected an integer"),
        (set_root(format_version=4.0), "format_version: 4.0, expected an integer"),
        (set_root(format_version="4"), "format_version: '4', expected an integer"),
        (set_root(target=-1), "target: -1, expected an integer of at least 0"),
        (set_root(target=2.0), "target: 2.0, expected an integer of at least 0"),
        (set_root(target=False), "target: False, expected an integer of at least 0"),
        (set_root(seed=2**64), "seed: 18446744073709551616, expected an integer"),
        (set_weights(file_sha256="A" * 64), "weights: file_sha256: 'AAAA"),
        (set_weights(state_sha256=""), "weights: state_sha256: '', expected a SHA-256"),
        (
            set_weights(file_sha256=None, state_sha256=None),
            "weights: neither file_sha256 nor state_sha256 is given, expected at least one",
        ),
        (set_root(weights_sha256="0" * 64), "weights_sha256: unknown field; the nearest is wei"),
        (set_root(model_class="Net\n"), r"model_class: 'Net\n', expected a text of printable"),
        (set_root(versions={"torch": [1]}), "versions: torch: [1], expected a text"),
        (set_root(evidence=[]), "evidence: [], expected a map"),
        (set_root(layers={}), "layers: {}, expected a list of maps"),
        (set_root(pickle="x"), "pickle: unknown field"),
        (set_layer(0, feature_shape=[3.0]), "layers[0]: feature_shape: [3.0], expected a list of"),
        (set_layer(0, feature_shape=[True]), "layers[0]: feature_shape: [True], expected a list"),
        (set_layer(0, role="both"), "layers[0]: role: 'both', expected it to say which"),
        (
            set_layer(0, role="judges"),
            "layers[0]: role: 'judges', expected one of detects, repairs",
        ),
        (set_layer(0, target=-1), "layers[0]: target: -1, expected an integer of at least 0"),
        (set_layer(0, target=2), "layers: some name their target, expected all or none of them to"),
        (set_layer(1, name="late"), "layers: a layer stands there twice"),
        (set_layer(1, name=""), "layers[1]: name: '', expected a text"),
        (set_layer(1, class_name="os.system"), "layers[1]: class_name: unknown field"),
        (set_part(0, "detection", threshold=None), "detection: threshold: None, expected a finite"),
        (set_part(0, "detection", threshold=True), "detection: threshold: True, expected a finite"),
        (
            set_part(0, "detection", only_target=1),
            "detection: only_target: 1, expected true or false",
        ),
        (set_clean_scores(count=0), "clean_scores: count: 0, expected an integer of at least 1"),
        (set_clean_scores(deciles=[1.0] * 8), "expected 9 ascending numbers"),
        (set_clean_scores(deciles=[2.0, *[1.0] * 8]), "expected 9 ascending numbers"),
        (set_clean_scores(mean=0.0), "clean_scores: mean: unknown field"),
        (set_part(1, "correction", form="exec"), "form: 'exec', expected one of shift, affine"),
        (set_part(1, "correction", strength=1e39), "strength: 1e+39, expected a finite number"),
        (set_part(1, "correction", strength=0), "correction: strength: 0.0, expected above 0"),
        (set_part(1, "correction", strength=-1), "correction: strength: -1.0, expected above 0"),
        (
            set_part(1, "correction", threshold=1),
            "correction: threshold: unknown field; expected one of form, strength",
        ),
        (set_part(2, "correction", slope=1), "correction: slope: unknown field; expected one of"),
        (set_part(3, "correction", anchor=1), "correction: anchor: unknown field; expected one of"),
        (set_part(0, "detection", anchor=1), "detection: anchor: unknown field; expected one of"),
        (set_part(2, "correction", anchor=None), "correction: anchor: None, expected a finite"),
        (set_input(kind="audio"), "input: kind: 'audio', expected one of image, tensor"),
        (set_input(shape=[2, 8, 8]), "input: shape: expected (1 or 3 channels, height, width)"),
        (set_input(shape=[3, 8]), "input: shape: expected (1 or 3 channels, height, width)"),
        (set_input(shape=[3, 2**20, 2**20]), "is too large for an input"),
        (set_input(mean=[0.5]), "input: mean: mean and std: expected 3 each"),
        (set_input(std=[1, 1, 0]), "input: std: expected values above 0"),
        (
            with_metadata(lambda root: root["layers"].pop()),
            "no layer uses it",
        ),
        (
            with_tensors(lambda held: held.pop("layers.0.detection")),
            "'layers.0.detection' is missing",
        ),
        (
            with_tensors(lambda held: held.update({"layers.9.detection": torch.ones(3)})),
            "tensor 'layers.9.detection': no layer uses it",
        ),
        (
            with_tensors(lambda held: held.update({"layers.0.detection": torch.ones(4)})),
            "layers[0]: detection: tensor 'layers.0.detection' of shape (4,), expected (3,)",
        ),
        (
            with_tensors(lambda held: held.update({"layers.0.detection": torch.ones(1, 3)})),
            "of shape (1, 3), expected (3,)",
        ),
        (
            with_tensors(lambda held: held.update({"layers.0.detection": torch.ones(0)})),
            "of shape (0,), expected (3,)",
        ),
        (
            with_tensors(lambda held: held.update({"layers.0.detection": torch.ones(()) * 1})),
            "of shape (), expected (3,)",
        ),
        *(
            (
                with_tensors(
                    lambda held, d=dtype: held.update({"layers.0.detection": torch.ones(3).to(d)})
                ),
                f"tensor 'layers.0.detection': dtype {dtype}, expected float32 or float16",
            )
            for dtype in (torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8)
        ),
        *(
            (
                with_tensors(lambda held, v=value: held["layers.0.detection"].__setitem__(1, v)),
                "tensor 'layers.0.detection': holds values that are not finite",
            )
            for value in (float("nan"), float("inf"), float("-inf"))
        ),
        (
            with_tensors(lambda held: held["layers.1.correction"].zero_()),
            "layers[1]: correction: tensor 'layers.1.correction' is all zero: no direction",
        ),
        (
            with_tensors(lambda held: held.update({"layers.3.correction": torch.ones(2, 3, 3)})),
            "layers[3]: correction: form 'local' takes one value per channel of a map",
        ),
        (
            with_tensors(lambda held: held.update({"layers.3.replacement": torch.ones(1, 3, 3)})),
            "layers[3]: replacement: form 'local' takes one value per channel of a map",
        ),
        (
            with_tensors(lambda held: held.pop("layers.3.replacement")),
            "layers[3]: replacement: the tensor 'layers.3.replacement' is missing",
        ),
        *(
            (
                with_tensors(lambda held, s=shape: held.update({"layers.4.slope": torch.ones(s)})),
                "layers[4]: slope: form 'affine' takes a matrix (C, C) for a map (C, H, W)",
            )
            for shape in ((2,), (2, 3), (3, 3), (2, 2, 1))
        ),
        (
            with_tensors(lambda held: held.pop("layers.4.slope")),
            "layers[4]: slope: the tensor 'layers.4.slope' is missing",
        ),
        (set_root(tensors={}), "tensors: layers.0.detection: missing"),
        (set_root(tensors={"layers.0.detection": "0" * 64}), ""),
        (raw_file({}), "writes): metadata: expected the one key 'fire', found []"),
        (save({}, {"format": "pt"}), "found ['format']"),
        # safetensors writes several keys in any order, and each run must know the test by one name.
        pytest.param(save({}, {"fire": "{}", "more": ""}), "found ['fire', 'more']", id="more"),
        (save({}, {"fire": "{}"}), "format_version: missing"),
        (save({}, {"fire": "[]"}), "metadata: expected a JSON object, found list"),
        (save({}, {"fire": ""}), "metadata: damaged: expected a JSON object"),
        (save({}, {"fire": '{"a":NaN}'}), "metadata: NaN is not a JSON number"),
        (save({}, {"fire": '{"a":-1e999}'}), "metadata: damaged: expected a JSON object"),
        (save({}, {"fire": '{"a":"\\ud800"}'}), "metadata: damaged"),
        (save({}, {"fire": '{"a":' + "[" * 50_000 + "]" * 50_000 + "}"}), "metadata: damaged"),
        (save({}, {"fire": '{"a":' + "[" * 40 + "]" * 40 + "}"}), "nested more than 32 deep"),
        (save({}, {"fire": '{"a":' + "9" * 50_000 + "}"}), "metadata: damaged"),
        (save({}, {"fire": '{"format_version":' + "9" * 4000 + "}"}), "expected an integer"),
        (bundle_file().replace(b"0.75", b"0.99"), "metadata: damaged or changed by hand"),
        (bundle_file().replace(b"1.5", b"9.5"), "metadata: damaged or changed by hand"),
    ],
)
def test_a_fault_is_named_with_the_file_the_field_and_what_was_expected(file, message):
    assert message in refusal(file)


def test_two_layers_that_detect():
    detection = Detection(torch.ones(3), 1.0)
    layer = Layer("more", (3,), detection, Shift(torch.ones(3), 1.0))
    bundle = replace(small_bundle(), layers=(*small_bundle().layers, layer))
    assert "layers: several detect, expected at most one" in refusal(bundle_file(bundle))


def test_a_bundle_that_does_not_repair():
    bundle = replace(small_bundle(), layers=small_bundle().layers[:1])
    assert "layers: none repairs, expected at least one" in refusal(bundle_file(bundle))


def two_repairs(*changes):
    """A bundle for two triggers, with fields of its three layers changed."""
    a, b, c, d = torch.eye(4) + 1
    layers = (
        Layer("early", (4,), Detection(a, 1.0, True), Shift(b, 1.0), target=2),
        Layer("late", (4,), Detection(c, 1.0, True), target=4),
        Layer("early", (4,), None, Shift(d, 1.0), target=4),
    )
    changed = [
        replace(layer, **values)
        for layer, values in zip(layers, changes or ({}, {}, {}), strict=True)
    ]
    return replace(small_bundle(), layers=tuple(changed))


def test_a_bundle_of_two_repairs_comes_back_equal():
    read = parse_bundle(bundle_file(two_repairs()), "f")
    assert content_of(read) == content_of(two_repairs())
    assert (read.target, read.targets) == (2, (2, 4))
    first, second = read.repairs
    assert (first.target, second.target) == (2, 4)
    assert (first.layers, second.layers) == (read.layers[:1], read.layers[1:])
    assert (
        (first.detecting_layer, second.detecting_layer) == read.layers[:2] == read.detecting_layers
    )
    assert second.repairing_layers == read.layers[2:]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (({"target": None}, {}, {}), "some name their target, expected all or none"),
        (({"target": 3}, {}, {}), "target: 2, expected 3, the first layer's"),
        (
            ({}, {"detection": Detection(torch.ones(4), 1.0)}, {}),
            "none for target 4 detects with only_t",
        ),
        (({}, {"target": 2}, {}), "several detect for target 2, expected at most one"),
        (({}, {}, {"target": 2}), "a layer stands there twice for target 2"),
        (({}, {}, {"name": "late"}), "a layer stands there twice for target 4"),
        (({}, {}, {"target": 2, "name": "other"}), "none repairs for target 4, expected at least"),
        (({"detection": None}, {}, {}), "a repair for target 2 does not detect, expected each of"),
    ],
)
def test_two_repairs_that_do_not_fit_each_other(changes, message):
    assert message in refusal(bundle_file(two_repairs(*changes)))


def of_one_target(*changes):
    """A bundle of two repairs for one target, with fields of its three layers changed."""
    layers = (
        replace(layer, **{"target": None, "repair": min(i, 1), **values})
        for i, (layer, values) in enumerate(
            zip(two_repairs().layers, changes or ({}, {}, {}), strict=True)
        )
    )
    return replace(small_bundle(), layers=tuple(layers))


def test_two_repairs_for_one_target_come_back_equal():
    read = parse_bundle(bundle_file(of_one_target()), "f")
    assert content_of(read) == content_of(of_one_target())
    assert [layer.repair for layer in read.layers] == [0, 1, 1]
    first, second = read.repairs
    assert (first.layers, second.layers) == (read.layers[:1], read.layers[1:])
    assert (first.target, second.target) == (2, 2)
    # The target is the same: it is named once.
    assert read.targets == (2,)
    assert read.detecting_layers == read.layers[:2]


def test_repairs_for_one_target_need_not_ask_for_it():
    anyone = {"detection": Detection(torch.ones(4), 1.0)}
    for changes in ((anyone, anyone, {}), (anyone, {}, {}), ({}, anyone, {})):
        assert len(parse_bundle(bundle_file(of_one_target(*changes)), "f").repairs) == 2


def test_the_numbers_of_repairs_say_nothing_of_their_order():
    read = parse_bundle(bundle_file(of_one_target({"repair": 7}, {}, {})), "f")
    assert [repair.layers for repair in read.repairs] == [read.layers[:1], read.layers[1:]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (({"repair": 1}, {}, {}), "a layer stands there twice"),
        (({"repair": 1}, {}, {"name": "other"}), "several detect, expected at most one"),
        (({"detection": None}, {}, {}), "a repair does not detect, expected each of several to"),
        (({}, {}, {"repair": 2}), "none repairs, expected at least one"),
        (({}, {"repair": 0, "name": "late", "detection": None}, {}), "expected it to say which"),
        (({"repair": -1}, {}, {}), "layers[0]: repair: -1, expected an integer of at least 0"),
        (({"repair": None}, {}, {}), "layers[0]: repair: None, expected an integer"),
        (({"repair": True}, {}, {}), "layers[0]: repair: True, expected an integer"),
        (({"repair": 1.0}, {}, {}), "layers[0]: repair: 1.0, expected an integer"),
        (({"repair": "0"}, {}, {}), "layers[0]: repair: '0', expected an integer"),
    ],
)
def test_two_repairs_for_one_target_that_do_not_fit_each_other(changes, message):
    assert message in refusal(bundle_file(of_one_target(*changes)))


def test_beside_another_target_every_repair_asks_for_its_own():
    one, two, three = two_repairs().layers
    second = replace(one, repair=1, detection=Detection(torch.ones(4), 1.0))
    bundle = replace(two_repairs(), layers=(one, second, two, three))
    assert "none for target 2 detects with only_target" in refusal(bundle_file(bundle))
    bundle = replace(bundle, layers=(one, replace(second, detection=one.detection), two, three))
    read = parse_bundle(bundle_file(bundle), "f")
    assert [repair.target for repair in read.repairs] == [2, 2, 4]
    assert read.targets == (2, 4)


# An overlay of the model's input -------------------------------------------------------------


def test_an_overlay_comes_back_equal():
    data = bundle_file(overlay_bundle())
    read = parse_bundle(data, "f")
    assert content_of(read) == content_of(overlay_bundle())
    assert bundle_file(read) == data
    layer, other = read.layers
    assert (layer.name, layer.role, layer.feature_shape) == (INPUT_LAYER, "both", (2, 4, 4))
    assert isinstance(layer.correction, Overlay)
    assert layer.correction.bases == (0.5, -0.25)
    assert (layer.detection.anywhere, other.detection.anywhere) == (True, False)
    assert [repair.target for repair in read.repairs] == [1, 1]


def test_a_layer_may_detect_anywhere():
    first, second = overlay_bundle().layers
    second = replace(second, detection=replace(second.detection, anywhere=True))
    bundle = replace(overlay_bundle(), layers=(first, second))
    assert parse_bundle(bundle_file(bundle), "f").layers[1].detection.anywhere


def overlay_with(i=0, part=None, **values):
    """A bundle with an overlay, with fields of one of its layers, or of a part of it, changed."""
    layers = list(overlay_bundle().layers)
    if part is not None:
        values = {part: replace(getattr(layers[i], part), **values)}
    layers[i] = replace(layers[i], **values)
    return replace(overlay_bundle(), layers=tuple(layers))


def test_a_warp_comes_back_equal():
    data = bundle_file(warp_bundle())
    read = parse_bundle(data, "f")
    assert content_of(read) == content_of(warp_bundle())
    assert bundle_file(read) == data
    assert [(layer.name, layer.role) for layer in read.layers] == [
        ("first", "detects"),
        (INPUT_LAYER, "repairs"),
    ]
    assert isinstance(read.layers[1].correction, Warp)


def warp_with(moves=None, **values):
    """A bundle with a warp, with fields of its layer, or its moves, changed."""
    first, second = warp_bundle().layers
    if moves is not None:
        values["correction"] = Warp(moves, 1.0)
    return replace(warp_bundle(), layers=(first, replace(second, **values)))


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (warp_with(name="early"), "correction: form 'warp', expected it at '(input)'"),
        (warp_with(torch.zeros(2, 4, 3)), "takes a map of two numbers for each place, found shape"),
        (warp_with(torch.full((2, 4, 4), 8.5)), "moves a place by 8.5, expected at most 8, twice"),
        (
            replace(warp_bundle(), layers=warp_bundle().layers[1:]),
            "layers: '(input)' repairs, and no layer detects for it",
        ),
        (
            warp_with(detection=overlay_bundle().layers[0].detection),
            "'(input)', expected it to detect anywhere and to repair by form 'overlay', or",
        ),
    ],
)
def test_a_warp_is_of_the_input_alone(bundle, message):
    assert message in refusal(bundle_file(bundle))


PLAIN = Shift(torch.ones(2, 1, 1), 1.0)


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (overlay_with(name="early"), "correction: form 'overlay', expected it at '(input)'"),
        (overlay_with(detection=None), "'(input)', expected it to detect anywhere and to repair"),
        (overlay_with(correction=None), "'(input)', expected it to detect anywhere and to repair"),
        (overlay_with(correction=PLAIN), "'(input)', expected it to detect anywhere and to repair"),
        (overlay_with(part="detection", anywhere=False), "'(input)', expected it to detect anywh"),
        (overlay_with(1, name=INPUT_LAYER), "layers[1]: name: '(input)', expected it to detect"),
        (overlay_with(part="detection", anywhere=1), "anywhere: 1, expected true or false"),
        (overlay_with(part="detection", anywhere=None), "anywhere: None, expected true or false"),
        (overlay_with(1, detection=None), "a repair does not detect, expected each of several"),
        (overlay_with(part="correction", bases=(0.5,)), "correction: bases: 1, expected 2"),
        (overlay_with(part="correction", bases=(0.5,) * 3), "correction: bases: 3, expected 2"),
        (overlay_with(part="correction", strength=0.0), "strength: 0.0, expected above 0"),
        *(
            (
                overlay_with(part="correction", **{name: torch.ones(2, 1, 1)}),
                "form 'overlay' takes a map",
            )
            for name in ("direction", "slope", "gauges")
        ),
        *(
            (
                overlay_with(part="correction", **{name: torch.ones(2, 4, 4)}),
                f"{name}: form 'overlay' takes one value per channel",
            )
            for name in ("lower", "upper")
        ),
        (
            overlay_with(part="correction", gauges=torch.full((2, 2, 4, 4), torch.nan)),
            "'layers.0.gauges': holds values that are not finite",
        ),
        (
            replace(overlay_bundle(), input=InputDescription("tensor", (2, 4, 5))),
            "'(input)' has the shape (2, 4, 4), expected that of the input, (2, 4, 5)",
        ),
    ],
)
def test_an_overlay_that_does_not_fit(bundle, message):
    assert message in refusal(bundle_file(bundle))


@pytest.mark.parametrize("shape", [(4,), (5, 2)])
def test_only_on_a_map_can_be_detected_anywhere(shape):
    layer = Layer(
        "a", shape, Detection(torch.ones(shape), 1.0, anywhere=True), Shift(torch.ones(shape), 1.0)
    )
    bundle = replace(small_bundle(), layers=(layer,))
    assert "detection: anywhere: expected a map (C, H, W)" in refusal(bundle_file(bundle))


def test_swapped_tensors_are_refused():
    data = bundle_file()
    header, body = header_of(data), body_of(data)
    names = [name for name in header if name != "__metadata__"]
    for first in names:
        for second in names:
            if first != second:
                swapped = {**header, first: header[second], second: header[first]}
                assert "its bytes do not match their SHA-256" in refusal(raw_file(swapped, body))


def test_a_tensor_of_another_dtype_or_shape_with_the_same_bytes():
    data = bundle_file()
    header, body = header_of(data), body_of(data)
    for changes in ({"dtype": "I32"}, {"dtype": "U8", "shape": [12]}, {"shape": [3, 1]}):
        forged = {**header, "layers.0.detection": {**header["layers.0.detection"], **changes}}
        assert "layers.0.detection" in refusal(raw_file(forged, body))


def test_directions_of_channels_and_of_tokens():
    for shape, of in (((2, 4, 4), (2, 1, 1)), ((5, 3), (1, 3)), ((5, 3), (5, 3))):
        layer = Layer("a", shape, correction=Shift(torch.ones(of), 1.0))
        read = parse_bundle(bundle_file(replace(small_bundle(), layers=(layer,))), "f")
        assert read.layers[0].correction.direction.shape == of


@pytest.mark.parametrize("known", ["weights_sha256", "state_sha256"])
def test_one_of_the_two_digests_of_the_weights_is_enough(known):
    none = {"weights_sha256": None, "state_sha256": None}
    bundle = replace(small_bundle(), **{**none, known: "2" * 64})
    read = parse_bundle(bundle_file(bundle), "f")
    assert (read.weights_sha256, read.state_sha256).count(None) == 1
    assert getattr(read, known) == "2" * 64


def test_a_correction_stores_what_its_form_has_and_no_more():
    layers = json.loads(bundle_to_parts(small_bundle())[1]["fire"])["layers"]
    assert [layer["correction"] and sorted(layer["correction"]) for layer in layers] == [
        None,
        ["form", "strength"],
        ["anchor", "form", "strength", "threshold"],
        ["form", "strength", "threshold"],
        ["form", "strength"],
    ]


def test_a_tensor_input_needs_no_mean():
    bundle = replace(small_bundle(), input=InputDescription("tensor", (7,)))
    assert parse_bundle(bundle_file(bundle), "f").input == InputDescription("tensor", (7,))


def test_metadata_of_many_layers_is_read_in_time():
    layers = tuple(Layer(f"l{i}", (1,), correction=Shift(torch.ones(1), 1.0)) for i in range(5000))
    assert (
        len(parse_bundle(bundle_file(replace(small_bundle(), layers=layers)), "f").layers) == 5000
    )


def test_sha256_of_a_tensor_is_that_of_its_bytes():
    value = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    expected = hashlib.sha256(value.numpy().tobytes()).hexdigest()
    assert tensor_sha256(value) == expected
    assert tensor_sha256(value.t().contiguous().t()) == expected
    assert tensor_sha256(torch.tensor(1.0)) == hashlib.sha256(b"\0\0\x80\x3f").hexdigest()


def test_an_unsaved_bundle_has_no_digest():
    assert small_bundle().digest == ""
    assert isinstance(small_bundle(), Bundle)


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path):
    path = tmp_path / "huge.safetensors"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(BundleError, match=r"huge.safetensors: over 268,435,456 bytes, expected a"):
        load_bundle(path)
