"""Bundle files that say something else than they should, every digest in them computed again."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from torchserve_fire.format.bundle import Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.bundle_file import bundle_to_parts
from torchserve_fire.format.correction_forms import Clamp, Shift
from torchserve_fire.format.metadata import METADATA_KEY, metadata_sha256
from torchserve_fire.format.tensor_digest import tensor_sha256

from .bundles import body_of, header_of, raw_file

NUMBERS = (0, 1, -1, 0.5, -0.0, 1e-45, 1e-38, 1e30, 2.9e38, -2.9e38, 1e308, 2**31, 2**63, 10**300)
TEXTS = (
    "",
    "x",
    "late",
    "head",
    "..",
    "features.0",
    "forward",
    "__class__",
    "\0",
    "é\n",
    "a" * 999,
)
OTHERS = (None, True, [], [0], [1, 1], [2**31 - 1] * 3, [2**40] * 8, {}, {"x": 1})
VALUES = (*NUMBERS, *TEXTS, *OTHERS)


def vector_bundle() -> Bundle:
    """A bundle of three forms, for a model whose layers all have four features."""
    detection = torch.tensor([1.0, 0, 0, 0])
    shift, other = torch.tensor([[2.0, 0, 0, -1], [1.0, 0, 1, 0]])
    layers = (
        Layer("first", (4,), Detection(detection, 1.0), Shift(shift, 1.0)),
        Layer("second", (4,), None, Clamp(other, 1.0, threshold=0.5, anchor=0.0)),
    )
    described = InputDescription("tensor", (4,))
    return Bundle(layers, "Net", "0" * 64, described, 1, {"clean": 1}, {}, 0, {"torch": "2"})


def cascade_bundle() -> Bundle:
    """A bundle of two repairs for one target, for the same model."""
    a, b, c, d = torch.eye(4) + 0.5
    layers = (
        Layer("first", (4,), Detection(a, 0.0, True), Shift(b, 2.0)),
        Layer("second", (4,), Detection(c, -1.0, True), repair=1),
        Layer("first", (4,), None, Shift(d, 1.0), repair=1),
    )
    described = InputDescription("tensor", (4,))
    return Bundle(layers, "Net", "0" * 64, described, 1, {"clean": 1}, {}, 0, {"torch": "2"})


def file_of(tensors: dict[str, Tensor], root: dict[str, Any]) -> bytes:
    """A file with these tensors and this metadata, and the digests that belong to them."""
    root = {**root, "tensors": {key: tensor_sha256(tensor) for key, tensor in tensors.items()}}
    return save(tensors, {METADATA_KEY: json.dumps({**root, "metadata_sha256": _digest(root)})})


def file_with(bundle: Bundle) -> bytes:
    """A bundle's file, also where its layers share a tensor."""
    tensors, metadata = bundle_to_parts(bundle)
    return save({key: tensor.clone() for key, tensor in tensors.items()}, metadata)


def _digest(root: dict[str, Any]) -> str:
    try:
        return metadata_sha256(root)
    except ValueError:  # Not to be written as JSON.
        return "0" * 64


def parts_of(bundle: Bundle) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, metadata = bundle_to_parts(bundle)
    return tensors, json.loads(metadata[METADATA_KEY])


def forged_fields(bundle: Bundle) -> Iterator[bytes]:
    """Each field of the metadata with each of many values, left out, and a field too many."""
    tensors, root = parts_of(bundle)
    for changed in forged_metadata(root):
        yield file_of(tensors, changed)


def forged_metadata(root: dict[str, Any]) -> Iterator[Any]:
    """The metadata with what `forged_fields` does to it, its digests as they were."""
    for path in _paths(root):
        if path[0] in ("tensors", "metadata_sha256"):
            continue
        for value in VALUES:
            yield _with(root, path, value)
        yield _without(root, path)
        yield _with(root, (*path[:-1], "added"), 1)


def forged_tensors(bundle: Bundle) -> Iterator[bytes]:
    """Tensors of other values, shapes and dtypes; left out, added, exchanged."""
    tensors, root = parts_of(bundle)
    for name, tensor in tensors.items():
        changed = [tensor * factor for factor in (0, -1, 1e-44, 1e-20, 1e20, 1e38, torch.inf)]
        changed += [tensor * torch.nan, tensor.half(), tensor.double(), tensor.to(torch.bfloat16)]
        changed += [tensor.int(), tensor.bool(), tensor[None], tensor[..., None], tensor[:1]]
        changed += [tensor[:0], tensor.sum(), torch.cat([tensor, tensor]), torch.full((4,), 3.4e38)]
        changed += [torch.zeros(0, 2**40), torch.ones((1,) * 60), tensor.flip(0).contiguous()]
        for other in changed:
            yield file_of({**tensors, name: other.contiguous()}, root)
        yield file_of({key: value for key, value in tensors.items() if key != name}, root)
        yield file_of({**tensors, f"{name}.x": tensor.clone()}, root)
        for second, other in tensors.items():
            if name < second:
                yield file_of({**tensors, name: other.clone(), second: tensor.clone()}, root)


def forged_layers(bundle: Bundle) -> Iterator[bytes]:
    """Layers repeated, exchanged, renamed, and given each other's targets and repairs."""
    layers = bundle.layers
    for i, layer in enumerate(layers):
        yield _bundle_of(bundle, (*layers, layer))
        yield _bundle_of(bundle, layers[:i] + layers[i + 1 :])
        for number in (0, 1, 2):
            yield _bundle_of(bundle, (*layers, replace(layer, repair=number)))
            yield _bundle_of(bundle, (*layers[:i], replace(layer, repair=number), *layers[i + 1 :]))
        for other in layers:
            yield _bundle_of(bundle, (*layers, replace(layer, name=other.name + "2")))
            changed = [replace(layer, name=other.name), replace(layer, target=1)]
            changed.append(replace(layer, feature_shape=(*other.feature_shape, 1)))
            changed.append(replace(layer, detection=other.detection))
            changed.append(replace(layer, correction=other.correction))
            for one in changed:
                yield _bundle_of(bundle, (*layers[:i], one, *layers[i + 1 :]))
        for target in (0, 1, 2, 999):
            yield _bundle_of(bundle, tuple(replace(each, target=target) for each in layers))
            yield _bundle_of(
                bundle,
                tuple(replace(each, target=target if each is layer else 5) for each in layers),
            )
    yield _bundle_of(bundle, tuple(replace(x, repair=i) for i, x in enumerate(layers)))
    yield _bundle_of(bundle, tuple(reversed(layers)))
    yield _bundle_of(bundle, layers * 50)
    yield _bundle_of(bundle, ())


def _bundle_of(bundle: Bundle, layers: tuple[Layer, ...]) -> bytes:
    return file_with(replace(bundle, layers=layers))


def forged_headers(bundle: Bundle) -> Iterator[bytes]:
    """Headers whose lengths, ranges, shapes and names lie."""
    data = file_with(bundle)
    header, body = header_of(data), body_of(data)
    length = int.from_bytes(data[:8], "little")
    for wrong in (0, 1, 2, length - 1, length + 1, length * 2, len(data), 2**31, 2**63, 2**64 - 1):
        yield struct.pack("<Q", wrong) + data[8:]
    names = [name for name in header if name != "__metadata__"]
    for name in names:
        begin, end = header[name]["data_offsets"]
        for offsets in (
            [begin, begin],
            [end, begin],
            [0, len(body)],
            [begin - 4, end - 4],
            [begin + 4, end + 4],
            [begin, 2**62],
            [2**62, 2**62 + end - begin],
            [-4, end - begin - 4],
            [begin, end, end],
            [float(begin), float(end)],
            [str(begin), str(end)],
        ):
            yield raw_file(_with(header, (name, "data_offsets"), offsets), body)
        for shape in (
            [2**61, 8],
            [2**32, 2**32],
            [2**31] * 4,
            [0, 2**62],
            [-1, -4],
            [4.0],
            [True] * 4,
            [1] * 65,
            [],
            "4",
            [4, 1, 1],
        ):
            yield raw_file(_with(header, (name, "shape"), shape), body)
        for dtype in ("F64", "F16", "BF16", "I32", "U8", "BOOL", "F8_E4M3", "C64", "f32", "", 4):
            yield raw_file(_with(header, (name, "dtype"), dtype), body)
        for other in names:
            if name != other:
                same = {**header[name], "data_offsets": header[other]["data_offsets"]}
                yield raw_file({**header, name: same}, body)
                yield raw_file({**header, name: header[other], other: header[name]}, body)
        yield raw_file({key: value for key, value in header.items() if key != name}, body)
        yield raw_file({**header, name + "\n": header[name]}, body)
    text = json.dumps(header)
    for name in ("__metadata__", *names):
        yield raw_file(text.replace(f'"{name}":', f'"{name}": {{}}, "{name}":').encode(), body)
    for metadata in (None, [], "x", {}, {"fire": 1}, {"fire": ""}, {"fire": "{}", "format": "pt"}):
        yield raw_file({**header, "__metadata__": metadata}, body)
    yield raw_file(text.encode() + b" " * 64, body)
    yield raw_file(text.encode("utf-16"), body)
    yield raw_file(text.encode() + b"\0", body)
    yield raw_file(text.encode(), body + body)


def damaged(bundle: Bundle, count: int) -> Iterator[bytes]:
    """Files with bytes changed, cut out, put in, repeated and moved."""
    data = file_with(bundle)
    draw = random.Random(0)  # noqa: S311
    for _ in range(count):
        first, second = sorted(draw.randrange(len(data)) for _ in range(2))
        piece = data[first:second]
        changed = bytearray(data)
        changed[first] = draw.randrange(256)
        yield draw.choice(
            (
                bytes(changed),
                data[:first] + data[second:],
                data[:first] + piece * 2 + data[second:],
                data[:first] + bytes(len(piece)) + data[second:],
                data[:first] + piece[::-1] + data[second:],
                data[second:] + data[:second],
            )
        )


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON document but its root."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(item, (*path, key))


def _parent(document: Any, path: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return a copy of a document, and in it what holds the place at `path`."""
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    return document, place


def _with(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    document, place = _parent(document, path)
    if isinstance(place, list) and not isinstance(path[-1], int):
        place.append(value)
    else:
        place[path[-1]] = value
    return document


def _without(document: Any, path: tuple[Any, ...]) -> Any:
    document, place = _parent(document, path)
    del place[path[-1]]
    return document
