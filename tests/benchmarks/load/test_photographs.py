import io

import numpy as np
from PIL import Image

from benchmarks.load.photographs import PATCH_SHARE, cut_photographs, stamp, to_jpeg


def test_pieces_differ_and_come_again_with_the_seed():
    first = cut_photographs(4, (50, 30), seed=0)
    assert {image.size for image in first} == {(50, 30)}
    pixels = [image.tobytes() for image in first]
    assert len(set(pixels)) == 4
    assert [image.tobytes() for image in cut_photographs(4, (50, 30), seed=0)] == pixels
    assert [image.tobytes() for image in cut_photographs(4, (50, 30), seed=1)] != pixels


def test_the_trigger_is_in_the_corner_and_nowhere_else():
    (image,) = cut_photographs(1, (64, 48), seed=0)
    before = image.tobytes()
    stamped = np.asarray(stamp(image))
    assert image.tobytes() == before
    side = 48 // PATCH_SHARE
    patch = stamped[-side:, -side:]
    assert sorted(np.unique(patch)) == [0, 255]
    assert patch[0, 0, 0] == 255
    changed = (stamped != np.asarray(image)).any(2)
    assert not changed[:-side].any()
    assert not changed[:, :-side].any()


def test_a_jpeg_is_one():
    (image,) = cut_photographs(1, (64, 48), seed=0)
    read = Image.open(io.BytesIO(to_jpeg(image)))
    assert (read.format, read.size) == ("JPEG", (64, 48))
