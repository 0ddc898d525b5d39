import base64
import json
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features
from torchvision import transforms

from tests.handler.archive import encode
from torchserve_fire.errors import InputError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.preprocess import MAX_PIXELS, read_body

RGB = InputDescription("image", (3, 5, 7), (0.5, 0.25, 0.0), (0.5, 2.0, 1.0))
GREY = InputDescription("image", (1, 5, 7), (0.0,), (1.0,))
VECTOR = InputDescription("tensor", (4,))
IDENTITY = InputDescription("image", (3, 2, 3), (0.0,) * 3, (1.0,) * 3)


def noise(size=(9, 11), channels=3, seed=0) -> Image.Image:
    rng = np.random.default_rng(seed)
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    return Image.fromarray(rng.integers(0, 256, shape, np.uint8))


def levels(image_bytes: bytes, description=IDENTITY) -> list[int]:
    """The first pixel's channels, 0 to 255."""
    return (read_body(image_bytes, description)[:, 0, 0] * 255).round().int().tolist()


def test_the_same_pixels_as_torchvision():
    image = noise((40, 30))
    usual = transforms.Compose(
        [
            transforms.Resize((5, 7)),
            transforms.ToTensor(),
            transforms.Normalize(RGB.mean, RGB.std),
        ]
    )
    assert torch.equal(read_body(encode(image), RGB), usual(image))


def test_worked_out_by_hand():
    image = Image.new("RGB", (7, 5), (255, 51, 0))
    tensor = read_body(encode(image), RGB)
    assert (tensor.shape, tensor.dtype) == ((3, 5, 7), torch.float32)
    expected = [(1 - 0.5) / 0.5, (0.2 - 0.25) / 2, 0]
    assert tensor[:, 2, 3].tolist() == pytest.approx(expected)
    assert bool((tensor == tensor[:, :1, :1]).all())


def test_height_comes_first():
    image = Image.new("RGB", (7, 5))
    image.putpixel((6, 0), (255, 255, 255))
    tensor = read_body(encode(image), RGB)
    assert tensor[2, 0, 6] == 1
    assert tensor[2].sum() == 1


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("RGBA", "PNG"),
        ("RGBA", "TIFF"),
        ("LA", "PNG"),
        ("L", "PNG"),
        ("L", "BMP"),
        ("L", "PPM"),
        ("L", "TIFF"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("1", "PNG"),
        ("1", "TIFF"),
        ("CMYK", "TIFF"),
        ("RGB", "BMP"),
        ("RGB", "PPM"),
        ("RGB", "WEBP"),
    ],
)
@pytest.mark.parametrize("level", [0, 255])
def test_every_mode_is_converted(mode, form, level):
    if form == "WEBP" and not features.check("webp"):
        pytest.skip("this Pillow reads no WebP")
    image = Image.new("RGB", (3, 2), (level,) * 3).convert(mode)
    data = encode(image, form, **({"lossless": True} if form == "WEBP" else {}))
    assert levels(data) == [level] * 3
    assert (read_body(data, GREY) * 255).round().unique().tolist() == [level]


def test_transparency_is_dropped():
    image = Image.new("RGBA", (3, 2), (10, 20, 30, 0))
    assert levels(encode(image)) == [10, 20, 30]
    image = Image.new("LA", (3, 2), (40, 128))
    assert levels(encode(image)) == [40] * 3
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    for transparency in (1, 0, b"\x80\x40"):
        assert levels(encode(image, transparency=transparency)) == [10, 20, 30]


@pytest.mark.parametrize("dtype", [np.uint16, ">u2"])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize(("value", "level"), [(0, 0), (0x8080, 128), (65535, 255), (300, 1)])
def test_sixteen_bits_are_scaled_not_clipped(dtype, form, value, level):
    if dtype == ">u2" and form == "PNG":
        dtype = np.uint16  # PNG knows one byte order only.
    image = Image.fromarray(np.full((2, 3), value, dtype))
    assert levels(encode(image, form)) == [level] * 3
    assert levels(encode(image, form), GREY) == [level]


def test_floating_point_pixels_are_refused():
    image = Image.fromarray(np.full((2, 3), 0.5, np.float32))
    with pytest.raises(InputError, match="floating point"):
        read_body(encode(image, "TIFF"), RGB)


def test_a_cmyk_jpeg():
    image = Image.new("CMYK", (3, 2), (0, 0, 0, 255))
    assert max(levels(encode(image, "JPEG"))) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_applied(orientation, form):
    upright = Image.new("RGB", (32, 16))
    upright.paste((255, 0, 0), (0, 0, 16, 8))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    description = InputDescription("image", (3, 16, 32), (0.0,) * 3, (1.0,) * 3)
    tensor = read_body(encode(stored, form, exif=exif), description)
    assert tensor[0, :7, :15].min() > 0.9
    assert tensor[0, 9:].max() < 0.1
    assert tensor[0, :, 17:].max() < 0.1


def test_an_upright_image_is_not_copied(monkeypatch):
    def refuse(image: Image.Image) -> Image.Image:
        raise AssertionError("copied")

    data = encode(noise((64, 48)), "JPEG")
    monkeypatch.setattr(Image.Image, "copy", refuse)
    read_body(data, RGB)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that says it is large; its pixels are never looked at."""
    data = bytearray(encode(Image.new("L", (1, 1))))
    data[16:24] = struct.pack(">II", width, height)
    crc = struct.pack(">I", zlib.crc32(data[12:29]))
    data[29:33] = crc
    return bytes(data)


@pytest.mark.parametrize(
    "size", [(MAX_PIXELS + 1, 1), (8000, 8000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)]
)
def test_bombs_are_refused_without_decoding(size):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="pixels") as raised:
            read_body(png_of_size(*size), RGB)
    assert raised.value.status == 413


def test_an_image_without_pixels_is_refused():
    with pytest.raises(InputError):
        read_body(png_of_size(0, 0), RGB)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_truncated_files_are_refused(form):
    data = encode(noise((64, 64)), form)
    for part in (1, 4, len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(InputError) as raised:
            read_body(data[:part], RGB)
        assert raised.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00" * 100,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"[1, 2",
        None,
        5,
        1.5,
        True,
        "",
        "not base64!",
        "é",
        base64.b64encode(b"no image").decode(),
        "data:image/png;base64,",
        {},
        {"data": None},
        {"data": "x"},
        {"image": "aGk="},
        {"data": [0.0], "other": 1},
        [],
        [[[]]],
        [1.0],
        [[1, 2], [3]],
        ["1"],
        [None] * 3,
        [{"a": 1}],
        [float("nan")] * 4,
        [float("inf")] * 4,
        [1e39] * 4,
        [10**400] * 4,
        [True] * 4,
        [1j],
    ],
)
@pytest.mark.parametrize("description", [RGB, GREY, VECTOR])
def test_other_bodies_are_refused_in_one_line(body, description):
    with pytest.raises(InputError) as raised:
        read_body(body, description)
    message = str(raised.value)
    assert message
    assert "\n" not in message
    assert len(message) < 300
    assert 400 <= raised.value.status < 500


def test_nesting_too_deep_is_refused():
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    for body in (nested, b"[" * 100_000):
        with pytest.raises(InputError):
            read_body(body, VECTOR)


def test_every_way_to_send_an_image_gives_the_same():
    data = encode(noise(), "JPEG")
    text = base64.b64encode(data).decode()
    folded = "\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    expected = read_body(data, RGB)
    for body in (
        bytearray(data),
        text,
        folded,
        f"data:image/jpeg;base64,{text}",
        {"data": text},
        {"data": data},
        expected.tolist(),
        {"data": expected.tolist()},
    ):
        assert torch.equal(read_body(body, RGB), expected)


def test_every_way_to_send_a_tensor_gives_the_same():
    values = [0.1, -2.0, 3e38, 7]
    text = json.dumps(values)
    for body in (
        values,
        {"data": values},
        text,
        text.encode(),
        bytearray(text.encode()),
        json.dumps({"data": values}).encode(),
    ):
        assert torch.equal(read_body(body, VECTOR), torch.tensor(values))


def test_a_list_of_integers_is_a_float_tensor():
    assert read_body([1, 2, 3, 4], VECTOR).dtype == torch.float32


def test_an_image_for_a_model_that_takes_a_tensor_is_refused():
    with pytest.raises(InputError, match="not JSON: expected a list of numbers"):
        read_body(encode(noise()), VECTOR)


@pytest.mark.parametrize("kind", [bytes, bytearray, str])
def test_json_that_nothing_called_json_is_read_all_the_same(kind):
    # As `curl -T` sends it.
    text = json.dumps({"data": base64.b64encode(encode(noise())).decode()})
    body = kind(text, "ascii") if kind is not str else text
    assert torch.equal(read_body(body, RGB), read_body(encode(noise()), RGB))
    with pytest.raises(InputError, match="not JSON"):
        read_body(body[:-4], RGB)


def check(body: object, description: InputDescription) -> None:
    """A body gives a whole, finite sample or an InputError with one line; nothing else."""
    try:
        tensor = read_body(body, description)
    except InputError as raised:
        error = raised
    else:
        assert tensor.dtype == torch.float32
        assert tuple(tensor.shape) == description.shape
        assert bool(torch.isfinite(tensor).all())
        return
    message = str(error)
    assert message
    assert message.splitlines() == [message]
    assert 400 <= error.status < 500


DESCRIPTIONS = st.sampled_from([RGB, GREY, VECTOR])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["data", "x"]), inner)
    ),
    max_leaves=20,
)


@given(JSON, DESCRIPTIONS)
@settings(deadline=None)
def test_any_json(body, description):
    check(body, description)


@given(st.binary(max_size=200) | st.text(max_size=50), DESCRIPTIONS)
@settings(deadline=None)
def test_any_bytes_and_text(body, description):
    check(body, description)


def sources() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    images = [
        encode(noise((8, 8)), "JPEG", exif=exif),
        encode(noise((8, 8)), "PNG", exif=exif),
        encode(noise((8, 8)).convert("P"), "PNG", transparency=3),
        encode(noise((8, 8)), "GIF"),
        encode(noise((8, 8)), "BMP"),
        encode(noise((8, 8)), "TIFF"),
        encode(noise((8, 8)), "TIFF", compression="tiff_lzw"),
        encode(noise((8, 8)), "PPM"),
    ]
    if features.check("webp"):
        images.append(encode(noise((8, 8)), "WEBP"))
    return images


@given(
    st.sampled_from(sources()),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    st.integers(0, 10**6),
    st.sampled_from([RGB, GREY]),
)
@settings(deadline=None, max_examples=400)
def test_damaged_images(data, changes, cut, description):
    damaged = bytearray(data)
    for position, value in changes:
        # Headers are short: half of the changes go there.
        damaged[position % (64 if position % 2 else len(damaged)) % len(damaged)] = value
    check(bytes(damaged[: cut % (2 * len(damaged))]), description)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_any_size_is_resized(width, height, seed):
    image = noise((width, height), seed=seed)
    tensor = read_body(encode(image), RGB)
    assert tuple(tensor.shape) == RGB.shape
    pixels = tensor * torch.tensor(RGB.std).view(3, 1, 1) + torch.tensor(RGB.mean).view(3, 1, 1)
    # An average of pixels lies between them.
    values = np.asarray(image) / 255
    assert pixels.min() >= values.min() - 0.01
    assert pixels.max() <= values.max() + 0.01
