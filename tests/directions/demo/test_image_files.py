from pathlib import Path

import numpy as np
from PIL import Image

from torchserve_fire_build.demo.digits import Digits
from torchserve_fire_build.demo.image_files import read_images, write_images


def test_images_land_in_a_folder_per_class_in_the_given_order(tmp_path: Path):
    images = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    paths = write_images(Digits(images, np.array([7, 2, 7])), [10, 11, 12], tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert names == ["7/0010.png", "2/0011.png", "7/0012.png"]
    for path, image in zip(paths, images, strict=True):
        assert (np.asarray(Image.open(path)) == image).all()
    assert (read_images(paths) == images).all()
