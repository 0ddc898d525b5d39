"""The published JSON schema of a bundle's metadata says what the reader does.

Whatever the reader takes, the schema takes. What the reader alone refuses is what no schema can
say, and each such rule stands in docs/reference/bundle-format.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.handler.bundles import bundle_file, overlay_bundle, small_bundle, warp_bundle
from tests.handler.forged_bundles import (
    cascade_bundle,
    file_of,
    forged_metadata,
    parts_of,
    vector_bundle,
)
from tests.handler.format.test_bundle_of_texts import text_bundle
from tests.handler.tables import DESCRIBED
from torchserve_fire.errors import BundleError
from torchserve_fire.format.bundle import Bundle, InputDescription
from torchserve_fire.format.bundle_file import parse_bundle
from torchserve_fire.format.metadata import METADATA_KEY
from torchserve_fire.format.resizing import Resizing
from torchserve_fire.format.safetensors_file import parse_safetensors

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
SCHEMA = Draft202012Validator(
    json.loads((REFERENCE / "bundle-metadata.schema.json").read_text("utf-8"))
)


def cropped_bundle() -> Bundle:
    resizing = Resizing((12, 14), crop=True, interpolation="bicubic", antialias=False)
    return replace(small_bundle(), input=replace(small_bundle().input, resizing=resizing))


def table_bundle() -> Bundle:
    return replace(small_bundle(), input=DESCRIBED)


BUNDLES: dict[str, Callable[[], Bundle]] = {
    "vectors": vector_bundle,
    "two repairs": cascade_bundle,
    "five forms": small_bundle,
    "overlay": overlay_bundle,
    "warp": warp_bundle,
    "texts": text_bundle,
    "cropped": cropped_bundle,
    "table": table_bundle,
}

ONLY_BY_THE_READER = (
    r"a text of printable characters",
    r"expected (an integer|a list of integers|a list of positive sizes|pixels)",  # 1.0 is none.
    r"-0\.0, expected (an integer|a list of)",
    r"is missing$|all zero|of shape|takes (a|one) (map|matrix|value)|no layer uses it|its bytes",
    r"the file holds no such tensor",
    r"expected 9 ascending numbers",
    r"bases: \d+, expected",
    r"mean and std: expected",
    r"which is what the columns give|is too large for an input",
    r"one value for each of the K arguments",
    r"values: .*each value once|one of the column's values|another name for each column",
    r"a list of texts or integers|without spaces around it",
    r"which has a log|more than min",
    r"'\(input\)'|anywhere: expected a map|expected it at|any_length: true",
    r"at a layer of any_length",
    r"layers: ",
    r"target: \d+, expected \d+, the first layer's",
)
"""What the reader says of it, rule by rule."""


def metadata_of(data: bytes) -> Any:
    return json.loads(parse_safetensors(data, "b").metadata[METADATA_KEY])


def refusal(data: bytes) -> str:
    try:
        parse_bundle(data, "b")
    except BundleError as error:
        return str(error)
    return ""


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_it_takes_what_the_code_writes(bundle: Callable[[], Bundle]) -> None:
    data = bundle_file(bundle())
    assert refusal(data) == ""
    assert [error.message for error in SCHEMA.iter_errors(metadata_of(data))] == []


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_it_differs_from_the_reader_only_where_a_schema_must(
    bundle: Callable[[], Bundle],
) -> None:
    check_forgeries(bundle(), every=97)


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_it_differs_from_the_reader_nowhere_else(bundle: Callable[[], Bundle]) -> None:
    check_forgeries(bundle(), every=9)


def check_forgeries(bundle: Bundle, every: int) -> None:
    """Hold schema and reader against each other on every so many of the forgeries."""
    tensors, root = parts_of(bundle)
    # Copies, because two layers may share a tensor.
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    for changed in islice(forged_metadata(root), 0, None, every):
        try:
            data = file_of(tensors, changed)
            metadata = metadata_of(data)
        except (BundleError, ValueError):
            continue  # No JSON: nothing that a schema could be held against.
        said, fits = refusal(data), SCHEMA.is_valid(metadata)
        if said == "":
            assert fits, metadata
        elif fits:
            assert any(re.search(rule, said) for rule in ONLY_BY_THE_READER), said


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format_version",), 5),
        (("weights", "file_sha256"), "0" * 63),
        (("input", "kind"), "sound"),
        (("input", "std"), [0.0, 1.0, 1.0]),
        (("target",), -1),
        (("layers",), []),
        (("layers", 0, "role"), "repairs"),
        (("layers", 0, "detection", "clean_scores", "deciles"), [0.0] * 8),
        (("layers", 1, "correction", "form"), "clamp"),
        (("layers", 1, "correction", "strength"), 0),
        (("layers", 2, "correction", "added"), 1),
        (("tensors", "layers.0.other"), "0" * 64),
    ],
)
def test_it_refuses_what_is_damaged(path: tuple[str | int, ...], value: Any) -> None:
    metadata = metadata_of(bundle_file())
    place = metadata
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not SCHEMA.is_valid(metadata)


def test_each_form_of_input_keeps_to_its_own_fields() -> None:
    metadata = metadata_of(bundle_file(table_bundle()))
    metadata["input"]["kind"] = "tensor"
    assert not SCHEMA.is_valid(metadata)
    tensor = replace(small_bundle(), input=InputDescription("tensor", (4,)))
    metadata = metadata_of(bundle_file(tensor))
    metadata["input"]["resizing"] = Resizing().stored()
    assert not SCHEMA.is_valid(metadata)
