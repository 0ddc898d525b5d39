import struct

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.handler.bundles import raw_file
from torchserve_fire.errors import BundleError
from torchserve_fire.format.safetensors_file import (
    DTYPES,
    parse_safetensors,
)

DTYPE = st.sampled_from(sorted(DTYPES.values(), key=str))
NAME = st.text(st.characters(exclude_categories=("Cs",)), max_size=12).filter(
    lambda name: name != "__metadata__"
)


@st.composite
def tensors(draw):
    dtype, shape = draw(DTYPE), draw(st.lists(st.integers(0, 3), max_size=4))
    count = torch.Size(shape).numel()
    if dtype == torch.bool:
        values = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
        return torch.tensor(values, dtype=torch.bool).reshape(shape)
    data = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


def same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Equal in dtype, shape and every bit (NaN among them)."""
    return (
        ours.dtype == theirs.dtype
        and ours.shape == theirs.shape
        and torch.equal(
            ours.flatten().contiguous().view(torch.uint8),
            theirs.flatten().contiguous().view(torch.uint8),
        )
    )


def refuses(data: bytes) -> str | None:
    try:
        parse_safetensors(data, "file")
    except BundleError as error:
        return str(error)
    return None


@settings(max_examples=300, deadline=None)
@given(
    held=st.dictionaries(NAME, tensors(), max_size=4),
    metadata=st.dictionaries(NAME, st.text("aé\n")),
)
def test_what_the_library_writes_is_read_equal(held, metadata):
    data = safetensors.torch.save(held, metadata or None)
    read = parse_safetensors(data, "file")
    assert read.tensors.keys() == held.keys()
    assert all(same(read.tensors[name], held[name]) for name in held)
    assert read.metadata == metadata


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_what_the_library_refuses_is_refused(data):
    file = bytearray(
        safetensors.torch.save(
            {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.int16)}, {"k": "v"}
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(file) - 1))
        file[position] = data.draw(st.integers(0, 255))
    changed = bytes(file[: data.draw(st.integers(0, len(file)))])
    try:
        theirs = safetensors.torch.load(changed)
    except Exception:  # The library's exceptions are of several kinds.
        assert refuses(changed) is not None
    else:
        if refuses(changed) is None:
            ours = parse_safetensors(changed, "file").tensors
            assert ours.keys() == theirs.keys()
            assert all(same(ours[name], theirs[name]) for name in ours)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data):
    refuses(data)
    refuses(raw_file(data))


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
FOUR = b"\0" * 4


def entry(**changes):
    return {"a": {**ENTRY, **changes}}


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "0 bytes, expected a safetensors file"),
        (b"\0" * 7, "7 bytes"),
        (b"\xff" * 8, "not a safetensors file"),
        (struct.pack("<Q", 3) + b"{}", "it has 10 bytes"),
        (raw_file(b""), "expected a JSON object"),
        (raw_file(b"[]"), "expected a JSON object, found list"),
        (raw_file(b"\xff"), "expected a JSON object"),
        (raw_file(b"\xef\xbb\xbf{}"), "BOM"),
        (raw_file(b"{} x"), "Extra data"),
        (raw_file(b"{}\0"), "Extra data"),
        (raw_file({"__metadata__": None}), "__metadata__: expected a map of strings"),
        (raw_file({"__metadata__": {"a": 1}}), "__metadata__: expected a map of strings"),
        (raw_file({"a": None}), "expected dtype, shape and data_offsets"),
        (raw_file({"a": {**ENTRY, "more": 1}}, FOUR), "expected dtype, shape and data_offsets"),
        (raw_file(entry(dtype="F33"), FOUR), "dtype 'F33', expected one of F64, F32"),
        (raw_file(entry(dtype=["F32"]), FOUR), "dtype ['F32'], expected one of"),
        (raw_file(entry(dtype="F8_E4M3"), FOUR), "dtype 'F8_E4M3', expected one of"),
        (raw_file(entry(shape=[1.0]), FOUR), "shape [1.0], expected a list"),
        (raw_file(entry(shape=[True]), FOUR), "shape [True], expected a list"),
        (raw_file(entry(shape=[-1]), FOUR), "shape [-1], expected a list"),
        (raw_file(entry(shape=1), FOUR), "shape 1, expected a list"),
        (raw_file(entry(shape=[1] * 65), FOUR), "expected a list of at most 64 sizes"),
        (raw_file(entry(shape=[2**62]), FOUR), "expected a list of at most 64 sizes"),
        (raw_file(entry(shape=[2**61] * 64), FOUR), "4 bytes, expected "),
        (
            raw_file(entry(shape=[0, 2**61, 2**61], data_offsets=[0, 0])),
            "too large",
        ),
        (raw_file(entry(data_offsets=[0, 4, 8]), FOUR), "expected two positions"),
        (raw_file(entry(data_offsets=[4, 0]), FOUR), "-4 bytes, expected 4"),
        (raw_file(entry(data_offsets=[0, 4.0]), FOUR), "expected two positions"),
        (raw_file(entry(data_offsets=[1, 5]), b"\0" * 5), "begins at byte 1, expected 0"),
        (raw_file(entry(), b"\0" * 3), "the tensors take 4 bytes, the file holds 3"),
        (raw_file(entry(), b"\0" * 5), "the tensors take 4 bytes, the file holds 5"),
        (raw_file({"a": ENTRY, "b": ENTRY}, FOUR), "begins at byte 0, expected 4"),
        (raw_file(b'{"a":1,"a":1}'), "a key stands there twice"),
        (raw_file(b'{"a":NaN}'), "NaN is not a JSON number"),
        (raw_file(b'{"\\ud800":1}'), "surrogates not allowed"),
        (raw_file(b'{"a":' + b"[" * 33 + b"]" * 33 + b"}"), "nested more than 32 deep"),
        (raw_file(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "expected a JSON object"),
        (raw_file(b'{"a":' + b"9" * 100_000 + b"}"), "expected a JSON object"),
        (raw_file({"n\x1b\n" * 1000: {}}), r"tensor 'n\x1b\nn\x1b\n"),
    ],
)
def test_what_is_not_exactly_one_well_formed_file_is_refused_in_one_line(file, reason):
    message = refuses(file)
    assert message is not None
    assert message.startswith("file: ")
    assert reason in message
    assert message.isprintable()
    assert len(message) < 300


def test_a_shape_of_a_million_sizes_is_refused_and_not_multiplied():
    # Multiplied, this would keep a worker busy for hours.
    assert "at most 64 sizes" in str(refuses(raw_file(entry(shape=[2**61] * 1_000_000), FOUR)))


def test_tensors_may_lie_in_any_order_and_names_be_anything():
    header = {"a": {**ENTRY, "data_offsets": [4, 8]}, "": {**ENTRY, "data_offsets": [0, 4]}}
    read = parse_safetensors(raw_file(header, struct.pack("<ff", 1, 2)), "file").tensors
    assert {name: value.tolist() for name, value in read.items()} == {"": [1.0], "a": [2.0]}


def test_tensors_have_memory_of_their_own_that_can_be_written():
    data = safetensors.torch.save({"a": torch.zeros(2), "b": torch.zeros(2)})
    first, second = parse_safetensors(data, "file"), parse_safetensors(data, "file")
    first.tensors["a"].add_(1)
    assert first.tensors["b"].tolist() == second.tensors["a"].tolist() == [0, 0]


def test_large_tensors_are_read_whole():
    held = torch.arange(3_000_000, dtype=torch.int32)
    read = parse_safetensors(safetensors.torch.save({"a": held}), "file")
    assert torch.equal(read.tensors["a"], held)
