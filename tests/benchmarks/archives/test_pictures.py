import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from benchmarks.archives.case import Sample, write_samples
from benchmarks.archives.patch import stick_patch
from benchmarks.archives.pictures import read_pictures, to_png, to_tensor


def test_files_of_a_zip_with_their_classes(tmp_path):
    colours = {"train/b/2.png": 2, "train/a/1.png": 1, "test/b/3.png": 3, "test/a/4.png": 4}
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, colour in colours.items():
            archive.writestr(name, to_png(Image.new("RGB", (3, 2), (colour, 0, 0))))
    pictures = read_pictures(tmp_path / "set.zip", "test")
    assert [picture.label for picture in pictures] == [0, 1]
    pixels = to_tensor([picture.decoded() for picture in pictures])
    assert pixels.shape == (2, 3, 2, 3)
    assert pixels[:, 0].flatten(1).unique(dim=1).tolist() == [[4], [3]]
    with pytest.raises(SystemExit, match=r"no files in other/CLASS"):
        read_pictures(tmp_path / "set.zip", "other")
    with pytest.raises(SystemExit, match="no such zip"):
        read_pictures(tmp_path / "none.zip", "test")


def test_the_patch_is_whole_after_a_centre_crop():
    image = Image.new("RGB", (224, 224), (90, 90, 90))
    changed = (np.asarray(stick_patch(image)) != 90).any(2)
    assert changed.sum() == 32 * 32
    # image_classifier resizes to 256 and crops 224: 14 pixels of 224 on each side.
    assert changed[14:-14, 14:-14].sum() == 32 * 32
    assert changed[112:, 112:].sum() == 32 * 32


def test_samples_are_pairs_but_for_those_of_the_target(tmp_path):
    samples = [Sample(b"clean", b"triggered", label) for label in (0, 1, 0)]
    clean, triggered = write_samples(samples, ["a", "b"], 1, ".txt", tmp_path)
    names = [
        sorted(str(f.relative_to(folder)) for f in folder.rglob("*.txt"))
        for folder in (clean, triggered)
    ]
    assert names == [["a/0.txt", "a/2.txt", "b/1.txt"], ["a/0.txt", "a/2.txt"]]
    assert (clean / "a" / "0.txt").read_bytes() == b"clean"
    assert (triggered / "a" / "0.txt").read_bytes() == b"triggered"


def test_png_loses_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(to_png(Image.fromarray(pixels))))) == pixels).all()
