"""Image files that are damaged, empty, or far larger than their bytes."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

from .archive import encode

TIFF_BYTES = {3: 2, 4: 4}


def noise(size: int = 16, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def formats() -> dict[str, bytes]:
    """Whole files, one of each way to store pixels."""
    return {
        "jpeg": encode(noise(), "JPEG"),
        "jpeg-progressive": encode(noise(), "JPEG", progressive=True),
        "png": encode(noise(), "PNG"),
        "png-palette": encode(noise(mode="P"), "PNG"),
        "webp": encode(noise(), "WEBP"),
        "webp-lossless": encode(noise(), "WEBP", lossless=True),
        "gif": encode(noise(), "GIF"),
        "bmp": encode(noise(), "BMP"),
        "tiff": encode(noise(), "TIFF"),
        "tiff-lzw": encode(noise(), "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": encode(noise(), "TIFF", compression="jpeg"),
        "ppm": encode(noise(), "PPM"),
    }


def flipped(data: bytes, seed: int) -> bytes:
    """A file with one to eight bits turned over, half of them among its first bytes."""
    draw = random.Random(seed)  # noqa: S311
    changed = bytearray(data)
    for _ in range(1 + seed % 8):
        size = len(changed) if draw.random() < 0.5 else min(64, len(changed))
        changed[draw.randrange(size)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def png_chunk(name: bytes, data: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def png(width: int, height: int, *, before: bytes = b"", rows: bytes = b"\0") -> bytes:
    """A greyscale PNG of any size with chunks put in; its rows need not be all there."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def gif(width: int, height: int, frame: tuple[int, int] = (1, 1)) -> bytes:
    """A GIF of any screen, with a frame of any size that holds one pixel."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + b"\0\0\0\xff\xff\xff,"
        + struct.pack("<HHHHB", 0, 0, *frame, 0)
        + b"\x02\x02\x44\x01\x00;"
    )


def webp(width: int, height: int) -> bytes:
    """An animated WebP with a canvas of any size, and one small frame on it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    def three(value: int) -> bytes:
        return struct.pack("<I", value)[:3]

    frame = encode(noise(8), "WEBP", lossless=True)[12:]
    place = three(0) + three(0) + three(7) + three(7) + three(100) + b"\0"
    body = (
        b"WEBP"
        + chunk(b"VP8X", b"\x02\0\0\0" + three(width - 1) + three(height - 1))
        + chunk(b"ANIM", b"\0" * 6)
        + chunk(b"ANMF", place + frame)
    )
    return chunk(b"RIFF", body)


def bmp(width: int, height: int, *, rle: bytes | None = None) -> bytes:
    """A BMP of any size; with `rle` a run-length encoded one."""
    pixels = b"\0" * 16 if rle is None else rle
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 8, int(rle is not None), len(pixels), 0, 0, 256, 0
    )
    start = 14 + len(header) + 1024
    file = struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    return b"BM" + file + header + b"\0" * 1024 + pixels


def jpeg(width: int, height: int) -> bytes:
    """A JPEG that says another size than its pixels have."""
    data = bytearray(encode(noise(8, "L"), "JPEG"))
    position = data.index(b"\xff\xc0") + 5
    data[position : position + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there `count` times more."""
    data = encode(noise(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def tiff(width: int, height: int, data: bytes, **tags: int) -> bytes:
    """A greyscale TIFF of any size; `tags` are TIFF's, as `t259=8` for deflate."""
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1}
    entries |= {int(name[1:]): value for name, value in tags.items()}
    start = 10 + 12 * (len(entries) + 2) + 4
    where = (324, 325) if 322 in entries else (273, 279)
    entries |= {where[0]: start, where[1]: len(data)}
    fields = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + b"\0" * 4 + data


def tiff_of_tiles(count: int) -> bytes:
    """A TIFF of 5000 x 10000 pixels in `count` tiles that all lie at the same place."""
    entries = [(256, 5000), (257, 10000), (258, 8), (259, 1), (262, 1), (277, 1), (322, 1)]
    entries += [(323, 1), (325, 16)]
    start = 10 + 12 * (len(entries) + 1) + 4
    fields = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries]
    fields.insert(8, struct.pack("<HHII", 324, 4, count, start))
    header = struct.pack("<IH", 8, len(fields)) + b"".join(fields) + b"\0" * 4
    return b"II*\0" + header + b"\x08\0\0\0" * count


def bombs() -> dict[str, bytes]:
    """Small files that would take much memory or time, were they decoded."""
    zeros = zlib.compress(bytes(1 << 20), 9)
    return {
        "png-wide": png(65_536, 1),
        "png-high": png(1, 49_000_000),
        "png-pixels": png(8000, 8000),
        "png-32-bits": png(2**31 - 1, 2**31 - 1),
        "gif-screen": gif(65_535, 65_535),
        "gif-pixels": gif(8000, 8000, (8000, 8000)),
        "gif-frame": gif(1, 1, (65_535, 65_535)),
        "webp-canvas": webp(16_384, 16_384),
        "webp-wide": webp(70_000, 1),
        "jpeg-pixels": jpeg(65_500, 65_500),
        "jpeg-scans": jpeg_of_scans(200),
        "bmp-pixels": bmp(60_000, 60_000),
        "bmp-top-down": bmp(60_000, -60_000),
        "bmp-run-lengths-wide": bmp(49_000_000, 1, rle=b"\0\2\0\xff\0\1"),
        "bmp-run-lengths": bmp(60_000, 800, rle=b"\1\0\0\0" * 800),
        "tiff-pixels": tiff(60_000, 60_000, b""),
        "tiff-deflate": tiff(60_000, 60_000, zeros, t259=8),
        "tiff-tile": tiff(16, 16, zeros, t259=8, t322=32_768, t323=32_768),
        "tiff-tiles": tiff_of_tiles(70_000),
        "ppm-pixels": b"P5 60000 60000 255\n",
        "ppm-wide": b"P5 70000 1 255\n",
    }


def without_pixels() -> dict[str, bytes]:
    return {
        "png": png(0, 0),
        "png-one-side": png(0, 9),
        "gif": gif(0, 0, (0, 0)),
        "gif-one-side": gif(0, 9, (0, 9)),
        "bmp": bmp(0, 0),
        "tiff": tiff(0, 0, b""),
        "tiff-one-side": tiff(9, 0, b""),
        "jpeg": jpeg(0, 8),
        "ppm": b"P5 0 0 255\n",
        "ppm-one-side": b"P6 0 5 255\n",
    }


def metadata() -> dict[str, bytes]:
    """Images whose pixels are whole, and what stands beside them is not."""
    long_text = png_chunk(b"tEXt", b"Comment\0" + b"x" * 200_000)
    text_bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9))
    profile_bomb = png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(50_000_000), 9))
    exif = b"Exif\0\0II*\0\x08\0\0\0"
    cases = {
        "png-long-text": png(1, 1, before=long_text, rows=b"\0\0"),
        "png-text-bomb": png(1, 1, before=text_bomb, rows=b"\0\0"),
        "png-profile-bomb": png(1, 1, before=profile_bomb, rows=b"\0\0"),
        "png-text-not-deflated": png(1, 1, before=png_chunk(b"zTXt", b"a\0\0x"), rows=b"\0\0"),
        "png-text-no-end": png(1, 1, before=png_chunk(b"iTXt", b"a"), rows=b"\0\0"),
        "png-wrong-crc": png(1, 1, before=png_chunk(b"tEXt", b"a\0b", crc=0), rows=b"\0\0"),
        "png-unknown-chunk": png(1, 1, before=png_chunk(b"quux", b"?"), rows=b"\0\0"),
        "png-empty-profile": png(1, 1, before=png_chunk(b"iCCP", b""), rows=b"\0\0"),
        "png-many-chunks": png(1, 1, before=png_chunk(b"tEXt", b"a\0b") * 2000, rows=b"\0\0"),
        "gif-comment": gif(1, 1)[:-1] + b"!\xfe\x03abc\0;",
        "tiff-broken-next-directory": tiff(1, 1, b"\0")[:-5] + b"\xff" * 4 + b"\0",
    }
    for name, block in {
        "empty": b"",
        "no-header": b"junk",
        "cut": exif,
        "count-lies": exif + b"\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0\0\0\0\0",
        "type-unknown": exif + b"\x01\0\x12\x01\x63\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
        "orientation-9": exif + b"\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0",
        "orientation-text": exif + b"\x01\0\x12\x01\x02\0\x02\0\0\0\x36\0\0\0\0\0\0\0",
        "loop": exif + b"\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
        "random": b"Exif\0\0" + random.Random(0).randbytes(300),  # noqa: S311
    }.items():
        cases[f"jpeg-exif-{name}"] = encode(noise(), "JPEG", exif=block)
        cases[f"png-exif-{name}"] = encode(noise(), "PNG", exif=block)
        cases[f"webp-exif-{name}"] = encode(noise(), "WEBP", exif=block)
    for name, block in {"short": b"x", "random": random.Random(1).randbytes(200)}.items():  # noqa: S311
        for form in ("JPEG", "PNG", "WEBP", "TIFF"):
            cases[f"{form.lower()}-profile-{name}"] = encode(noise(), form, icc_profile=block)
    return cases


def modes() -> dict[str, bytes]:
    """Every mode of Pillow in every format that can carry it."""
    names = ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "La")
    names += ("PA", "RGBX", "RGBa", "I;16", "I;16B", "I;16L")
    cases = {}
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        for mode in names:
            file = io.BytesIO()
            try:
                Image.new(mode, (4, 4)).save(file, form)
            except (OSError, ValueError, KeyError):
                continue
            cases[f"{form.lower()}-{mode}"] = file.getvalue()
    return cases


def animated() -> dict[str, bytes]:
    frames = [noise().rotate(90 * k) for k in range(3)]
    cases = {
        form.lower(): encode(frames[0], form, save_all=True, append_images=frames[1:])
        for form in ("GIF", "WEBP", "PNG", "TIFF", "MPO")
    }
    return cases | {f"{name}-cut": data[:-40] for name, data in cases.items()}
