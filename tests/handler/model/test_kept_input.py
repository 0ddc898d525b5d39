import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.handler.archive import encode
from torchserve_fire.model.kept_input import KEY, VALUE, holds_kept_input, kept_input_mark

IMAGE = Image.new("RGB", (3, 2))


def with_text(key, value):
    text = PngInfo()
    text.add_text(key, value)
    return encode(IMAGE, pnginfo=text)


def test_what_has_the_mark():
    data = encode(IMAGE, pnginfo=kept_input_mark())
    assert holds_kept_input(data)
    # An image program keeps the pixels alone.
    assert not holds_kept_input(encode(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        KEY.encode(),
        KEY.encode() * 1000,
        encode(IMAGE),
        encode(IMAGE, "JPEG", comment=f"{KEY} {VALUE}".encode()),
        with_text(KEY, "another"),
        with_text("another", KEY),
        encode(IMAGE, pnginfo=kept_input_mark())[:40],
        encode(IMAGE) + KEY.encode(),
    ],
)
def test_what_has_none(data):
    assert not holds_kept_input(data)
