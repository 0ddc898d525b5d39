"""Bundles that were written by the code of their time: every version stays readable.

The files of each version were written by the last commit of that version, with the values below.
Each holds every form of a correction, or several targets.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tests.handler.bundles import content_of, header_of
from torchserve_fire.errors import BundleError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.bundle_file import load_bundle, parse_bundle, save_bundle
from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.format.correction_forms import Affine, Clamp, Local, Shift
from torchserve_fire.format.metadata import METADATA_KEY, metadata_sha256
from torchserve_fire.format.safetensors_file import parse_safetensors
from torchserve_fire.format.tensor_digest import tensor_sha256

DATA = Path(__file__).with_name("data")
DECILES = (-2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1.25)
VERSIONS = (1, 2, 3)
FIRST_VERSIONS = (1, 2)
"""Those with other words than today's."""
STATES = {1: None, 2: None, 3: "5" * 64}
FILES = [f"version_{version}{kind}" for version in VERSIONS for kind in ("", "_several")]


def file_of(name: str) -> Path:
    return DATA / f"{name}.safetensors"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bundle_with_every_form(version):
    bundle = load_bundle(file_of(f"version_{version}"))
    assert [(layer.name, layer.feature_shape, layer.role) for layer in bundle.layers] == [
        ("late", (3,), "detects"),
        ("early", (2, 4, 4), "repairs"),
        ("middle", (5, 2), "repairs"),
        ("places", (2, 3, 3), "repairs"),
        ("tokens", (4, 2), "repairs"),
    ]
    detection = bundle.layers[0].detection
    assert detection.weight.tolist() == [1.0, -2.0, 0.5]
    assert (detection.threshold, detection.only_target) == (1.5, True)
    assert detection.clean_scores == (None if version == 1 else CleanScores(20, DECILES))
    shift, clamp, local, affine = (layer.correction for layer in bundle.layers[1:])
    assert isinstance(shift, Shift)
    assert shift.direction.tolist() == [[[0.5]], [[-1.5]]]
    assert (shift.direction.dtype, shift.strength) == (torch.float32, 1.0)
    assert isinstance(clamp, Clamp)
    assert clamp.direction.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert (clamp.strength, clamp.threshold, clamp.anchor) == (0.5, 2.0, -0.25)
    assert isinstance(local, Local)
    assert local.direction.tolist() == [[[1.0]], [[2.0]]]
    assert (local.strength, local.threshold) == (0.75, 3.0)
    assert local.replacement.tolist() == [[[0.25]], [[-0.25]]]
    assert isinstance(affine, Affine)
    assert affine.direction.tolist() == [[1.0, 3.0]]
    assert (affine.strength, affine.slope.tolist()) == (2.0, [[1.0, 0.5], [0.0, -1.0]])
    assert (bundle.weights_sha256, bundle.state_sha256) == ("ab" * 32, STATES[version])
    assert {layer.repair for layer in bundle.layers} == {0}
    assert not detection.anywhere
    assert bundle.input == InputDescription("image", (3, 8, 8), (0.5,) * 3, (0.25,) * 3)
    assert (bundle.model_class, bundle.target, bundle.targets) == ("Net", 2, (2,))
    assert bundle.evidence == {
        "clean": 10,
        "triggered": 12,
        "paired": True,
        "estimator": "mean",
        "detector": "mean_projection",
        "triggered_as_target": 11,
    }
    assert bundle.held_out == {"folds": 4, "clean_accuracy": 0.75}
    assert (bundle.seed, bundle.versions) == (7, {"torch": "2"})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bundle_with_several_targets(version):
    bundle = load_bundle(file_of(f"version_{version}_several"))
    assert (bundle.target, bundle.targets) == (2, (2, 4))
    assert [(x.name, x.role, x.target) for x in bundle.layers] == [
        ("early", "both", 2),
        ("late", "detects", 4),
        ("early", "repairs", 4),
    ]
    assert [repair.only_target for repair in bundle.repairs] == [True, True]
    assert bundle.layers[2].correction.direction.tolist() == [1.0, 1.0, 1.0, 2.0]
    assert bundle.input.kind == ("tensor" if version == 1 else "integers")
    assert bundle.evidence["targets"] == {
        "2": {"estimator": "mean", "detector": "mean_projection"},
        "4": {"estimator": "mean", "detector": None},
    }


@pytest.mark.parametrize("name", FILES)
def test_it_is_saved_as_the_newest_version_with_equal_content(name, tmp_path):
    read = load_bundle(file_of(name))
    saved = save_bundle(read, tmp_path / "b.safetensors")
    assert content_of(saved) == content_of(read)
    assert content_of(saved)[0]["format_version"] == 4
    assert replace(saved, layers=()) == replace(read, layers=())


# A reader of an older version refuses what it refused in its time -----------------------------


def parts_of(name: str) -> tuple[dict, dict]:
    data = file_of(name).read_bytes()
    root = json.loads(header_of(data)["__metadata__"][METADATA_KEY])
    return root, parse_safetensors(data, name).tensors


def refusal(root: dict, tensors: dict) -> str:
    root["tensors"] = {key: tensor_sha256(tensor) for key, tensor in tensors.items()}
    root["metadata_sha256"] = metadata_sha256(root)
    with pytest.raises(BundleError) as caught:
        parse_bundle(save(tensors, {METADATA_KEY: json.dumps(root)}), "b.safetensors")
    message = str(caught.value)
    assert message.startswith("b.safetensors: ")
    assert message.isprintable()
    return message


def layer_with(i, part, **values):
    def change(root, tensors):
        root["layers"][i][part].update(values)

    return change


def renamed(i, old, new):
    def change(root, tensors):
        root["layers"][i][new] = root["layers"][i].pop(old)

    return change


def without_tensor(name):
    return lambda root, tensors: tensors.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (layer_with(1, "repairing", threshold=1.0), "layers[1]: repairing: threshold: 1.0, expe"),
        (layer_with(1, "repairing", anchor=1.0), "repairing: anchor: 1.0, expected null"),
        (layer_with(3, "repairing", anchor=1.0), "repairing: anchor: 1.0, expected null"),
        (layer_with(2, "repairing", anchor=None), "anchor: None, expected a finite number"),
        (layer_with(2, "repairing", strength=0), "strength: 0.0, expected above 0"),
        (layer_with(1, "repairing", form="exec"), "form: 'exec', expected one of shift, affine"),
        (layer_with(1, "repairing", slope=1), "slope: unknown field"),
        (layer_with(0, "telling", threshold=None), "telling: threshold: None, expected a finite"),
        (layer_with(0, "telling", sidecar=1), "telling: sidecar: unknown field"),
        (renamed(0, "telling", "detection"), "layers[0]: telling: missing"),
        (renamed(1, "repairing", "correction"), "layers[1]: repairing: missing"),
        (lambda root, _: root["layers"][0].update(role="detects"), "expected one of tells, repai"),
        (lambda root, _: root["layers"][0].update(role="both"), "role: 'both', expected it to say"),
        (lambda root, _: root.update(weights={}), "weights: unknown field"),
        (lambda root, _: root.pop("weights_sha256"), "weights_sha256: missing"),
        (lambda root, _: root.update(format_version=3), "b.safetensors: layers[0]: detection: mi"),
        (without_tensor("layers.0.telling"), "the tensor 'layers.0.telling' is missing"),
        (without_tensor("layers.1.repairing"), "the tensor 'layers.1.repairing' is missing"),
        (without_tensor("layers.4.slope"), "the tensor 'layers.4.slope' is missing"),
        (
            lambda _, tensors: tensors.update({"layers.1.correction": torch.ones(1)}),
            "tensor 'layers.1.correction': no layer uses it",
        ),
        (
            lambda _, tensors: tensors["layers.1.repairing"].zero_(),
            "tensor 'layers.1.repairing' is all zero: no direction",
        ),
    ],
)
@pytest.mark.parametrize("version", FIRST_VERSIONS)
def test_a_fault_is_named_as_the_file_has_it(version, change, message):
    root, tensors = parts_of(f"version_{version}")
    change(root, tensors)
    assert message in refusal(root, tensors)


def test_version_1_knows_no_clean_scores_and_no_integers():
    root, tensors = parts_of("version_1")
    root["layers"][0]["telling"]["clean_scores"] = None
    assert "clean_scores: unknown field" in refusal(root, tensors)
    root, tensors = parts_of("version_1_several")
    root["input"]["kind"] = "integers"
    assert "kind: 'integers', expected one of image, tensor" in refusal(root, tensors)


def test_version_2_must_speak_of_clean_scores():
    root, tensors = parts_of("version_2")
    del root["layers"][0]["telling"]["clean_scores"]
    assert "telling: clean_scores: missing" in refusal(root, tensors)


def without_weights(root, tensors):
    root["weights"] = {"file_sha256": None, "state_sha256": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (layer_with(1, "correction", form="overlay"), "'overlay', expected one of shift, affine"),
        (lambda root, _: root["layers"][0].update(repair=0), "layers[0]: repair: unknown field"),
        (lambda root, _: root["layers"][1].update(repair=1), "layers[1]: repair: unknown field"),
        (lambda root, _: root["input"].update(resizing={}), "input: resizing: unknown field"),
        (layer_with(0, "detection", anywhere=False), "detection: anywhere: unknown field"),
        (layer_with(0, "detection", anywhere=True), "detection: anywhere: unknown field"),
        (layer_with(0, "detection", clean_scores=0), "clean_scores: 0, expected a map"),
        (lambda root, _: root["layers"][0].update(name="(input)"), "'(input)', expected it to det"),
        (lambda root, _: root["layers"][0]["detection"].pop("clean_scores"), "clean_scores: missi"),
        (layer_with(2, "correction", anchor=None), "anchor: None, expected a finite number"),
        (layer_with(1, "correction", threshold=1), "correction: threshold: unknown field"),
        (renamed(0, "detection", "telling"), "layers[0]: detection: missing"),
        (renamed(1, "correction", "repairing"), "layers[1]: correction: missing"),
        (lambda root, _: root["layers"][0].update(role="tells"), "expected one of detects, repai"),
        (lambda root, _: root.update(weights_sha256="a" * 64), "weights_sha256: unknown field"),
        (without_weights, "weights: neither file_sha256 nor state_sha256 is given"),
        (lambda root, _: root.update(format_version=4), "layers[0]: detection: anywhere: missing"),
        (lambda root, _: root.update(format_version=2), "layers[0]: telling: missing"),
        (without_tensor("layers.0.detection"), "the tensor 'layers.0.detection' is missing"),
        (without_tensor("layers.4.slope"), "the tensor 'layers.4.slope' is missing"),
        (
            lambda _, tensors: tensors.update({"layers.1.gauges": torch.ones(1)}),
            "tensor 'layers.1.gauges': no layer uses it",
        ),
    ],
)
def test_a_fault_in_version_3_is_named(change, message):
    root, tensors = parts_of("version_3")
    change(root, tensors)
    assert message in refusal(root, tensors)


def test_version_3_knows_one_repair_for_each_target():
    root, tensors = parts_of("version_3_several")
    for layer in root["layers"]:
        layer["target"] = 2
    assert "layers: a layer stands there twice" in refusal(root, tensors)
    for i, layer in enumerate(root["layers"]):
        layer["repair"] = i
    assert "layers[0]: repair: unknown field" in refusal(root, tensors)


@pytest.mark.parametrize("name", FILES)
def test_metadata_that_was_changed_by_hand_is_refused(name):
    data = file_of(name).read_bytes()
    with pytest.raises(BundleError, match="damaged or changed by hand"):
        parse_bundle(data.replace(rb"0.75", rb"0.99"), name)


@pytest.mark.parametrize("name", FILES)
def test_every_cut_and_every_flipped_byte_of_a_tensor_is_refused(name):
    data = file_of(name).read_bytes()
    for size in range(0, len(data), 7):
        with pytest.raises(BundleError):
            parse_bundle(data[:size], name)
    body = 8 + int.from_bytes(data[:8], "little")
    for position in range(body, len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(BundleError, match="do not match their SHA-256"):
            parse_bundle(bytes(changed), name)
