"""Bundles for texts: what samples are padded with, and layers of any length."""

import json
from dataclasses import replace

import pytest
import torch

from tests.handler.bundles import bundle_file, content_of, forged, small_bundle
from torchserve_fire.errors import BundleError
from torchserve_fire.format.bundle import Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.bundle_file import bundle_to_parts, parse_bundle
from torchserve_fire.format.correction_forms import Clamp, Local, Shift
from torchserve_fire.format.metadata import METADATA_KEY

BY_TOKEN = Detection(torch.ones(1, 4), 1.5, True, padding=(0, -1))


def text_bundle() -> Bundle:
    replaced = Local(torch.ones(1, 4), 1.0, threshold=2.0, replacement=torch.zeros(1, 4))
    return replace(
        small_bundle(),
        layers=(
            Layer("pooled", (4,), detection=Detection(torch.ones(4), 1.5, True)),
            Layer("tokens", (1, 4), correction=replaced, any_length=True),
            Layer("words", (1, 4), BY_TOKEN, replaced, repair=1, any_length=True),
        ),
        input=InputDescription("integers", (2, 16), padding=(0, -1)),
    )


def refusal(change) -> str:
    tensors, metadata = bundle_to_parts(text_bundle())
    root = json.loads(metadata[METADATA_KEY])
    change(root)
    with pytest.raises(BundleError) as caught:
        parse_bundle(forged(root, {k: t.clone() for k, t in tensors.items()}), "b")
    assert str(caught.value).startswith("b: ")
    return str(caught.value)


def test_what_is_written_is_read():
    data = bundle_file(text_bundle())
    read = parse_bundle(data, "b")
    assert content_of(read) == content_of(text_bundle())
    assert [layer.any_length for layer in read.layers] == [False, True, True]
    assert [layer.detection.padding for layer in read.detecting_layers] == [(), (0, -1)]
    assert read.input.padding == (0, -1)


def test_only_layers_of_any_length_know_padding():
    layer = Layer(
        "pooled", (4,), replace(BY_TOKEN, weight=torch.ones(4)), Shift(torch.ones(4), 1.0)
    )
    with pytest.raises(BundleError, match="detection: padding: expected it at a layer of any_leng"):
        parse_bundle(bundle_file(replace(text_bundle(), layers=(layer,))), "b")


def test_others_say_nothing_of_it():
    assert b"any_length" not in bundle_file()
    assert b"padding" not in bundle_file()


@pytest.mark.parametrize("padding", [None, "0", [0.5], [True], {}])
def test_a_detection_s_padding_is_whole_numbers(padding):
    def change(root):
        root["layers"][2]["detection"]["padding"] = padding

    assert "padding" in refusal(change)


@pytest.mark.parametrize(
    "padding", [None, 0, [], [0], [0, 0, 0], [0, "0"], [0, True], [0, 0.5], [0, 2**31], {"a": 0}]
)
def test_padding_has_a_whole_number_for_each_argument(padding):
    assert "padding" in refusal(lambda root: root["input"].update(padding=padding))


@pytest.mark.parametrize("change", [{"kind": "tensor"}, {"shape": [2, 3, 4]}, {"shape": [2]}])
def test_only_rows_of_integers_are_padded(change):
    assert "padding" in refusal(lambda root: root["input"].update(change))


@pytest.mark.parametrize(
    "layer",
    [
        Layer("tokens", (3, 4), correction=Shift(torch.ones(1, 4), 1.0), any_length=True),
        Layer("tokens", (4,), correction=Shift(torch.ones(4), 1.0), any_length=True),
        Layer("tokens", (1, 4, 4), correction=Shift(torch.ones(1, 4, 4), 1.0), any_length=True),
        Layer("tokens", (1, 4), correction=Clamp(torch.ones(1, 4), 1.0, 1.0, 0.0), any_length=True),
        Layer("tokens", (1, 4), Detection(torch.ones(1, 4), 1.0), Shift(torch.ones(1, 4), 1.0),
              any_length=True),
    ],
)  # fmt: skip
def test_what_depends_on_how_many_tokens_there_are_is_refused(layer):
    with pytest.raises(BundleError, match="any_length: true, expected features of shape"):
        parse_bundle(bundle_file(replace(text_bundle(), layers=(layer,))), "b")


@pytest.mark.parametrize("value", [None, 1, "true", []])
def test_any_length_is_true_or_false(value):
    assert "any_length" in refusal(lambda root: root["layers"][1].update(any_length=value))


def test_older_versions_do_not_have_it():
    def change(root):
        root["format_version"] = 3
        for layer in root["layers"]:
            del layer["repair"]
            if layer["detection"]:
                del layer["detection"]["anywhere"]
                layer["detection"].pop("padding", None)

    assert "any_length: unknown field" in refusal(change)
