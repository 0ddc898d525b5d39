"""Small pictures hold pixels alone, and hostile files are refused before they are decoded."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.review.excerpt import LENGTH, excerpt
from torchserve_fire_build.review.small_picture import SIDE, small_picture


def png(width: int, height: int, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), 0).save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "I;16"])
def test_a_picture_is_made_small_and_keeps_its_shape(mode: str) -> None:
    with Image.open(io.BytesIO(small_picture(png(600, 300, mode)))) as small:
        assert small.size == (SIDE, SIDE // 2)
        assert small.format == "PNG"
        assert small.mode in ("L", "RGB")


def test_a_smaller_picture_keeps_its_pixels() -> None:
    with Image.open(io.BytesIO(small_picture(png(8, 4)))) as small:
        assert small.size == (8, 4)


def test_what_a_file_says_of_itself_is_left_out() -> None:
    said = PngInfo()
    said.add_text("Comment", "secret")
    assert b"secret" in png(4, 4, pnginfo=said)
    assert b"secret" not in small_picture(png(4, 4, pnginfo=said))


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    data = bytearray(png(4, 4))
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(SamplesError, match=r"expected at most|not a readable image"):
        small_picture(bytes(data))


@pytest.mark.parametrize("data", [b"", b"<svg onload=alert(1)>", b"GIF89a", png(4, 4)[:40]])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(SamplesError, match="not a readable image"):
        small_picture(data)


def test_an_excerpt_is_one_line_of_what_can_be_printed() -> None:
    assert excerpt(b"a,b\r\n1,\x1b[31m2\x00") == "a,b 1, [31m2"
    assert excerpt(b"\xff" + "\u00e4".encode()) == "\ufffd\u00e4"
    assert excerpt(b"x" * LENGTH) == "x" * LENGTH
    assert excerpt(b"x" * (LENGTH + 1)) == "x" * LENGTH + "\u2026"
