import io

import numpy as np
import pytest
import torch
from PIL import Image

from torchserve_fire_build.common.errors import OutputError
from torchserve_fire_build.inspection.anomaly_picture import (
    MAX_CLASSES,
    check_picture_folder,
    draw_bars,
    draw_grid,
    write_pictures,
)
from torchserve_fire_build.inspection.findings import Run
from torchserve_fire_build.inspection.inspection import Inspection

RED = (217, 72, 15)


def run(classes=6, name="any", high=(), shape=(8, 8)):
    index = torch.zeros(classes, dtype=torch.float64)
    index[list(high)] = 9
    pictures = torch.rand(classes, *shape, generator=torch.Generator().manual_seed(0))
    return Run(Inspection(name, index=index, pictures=pictures), 1.0)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def red(data):
    return int((pixels(data) == RED).all(2).sum())


def assert_nothing_is_cut_off(data):
    image = pixels(data)
    assert image.min() < 100
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert edge.min() == 255


@pytest.mark.parametrize("classes", [1, 60])
def test_nothing_is_cut_off(classes):
    one, two = run(classes), run(classes, "W" * 60, high=[0])
    assert_nothing_is_cut_off(draw_bars([one, two]))
    assert_nothing_is_cut_off(draw_bars([one, two], "{} a long name of an animal".format))
    assert_nothing_is_cut_off(draw_grid(two, two.inspection.pictures))
    named = draw_grid(two, two.inspection.pictures, "{} a long name of an animal".format)
    assert_nothing_is_cut_off(named)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (2, 8, 8), (3, 8, 5)])
def test_pictures_of_every_shape_are_drawn(shape):
    found = run(4, shape=shape)
    assert_nothing_is_cut_off(draw_grid(found, found.inspection.pictures))
    flat = torch.zeros(4, *shape)
    assert draw_grid(found, flat) != draw_grid(found, found.inspection.pictures)


def test_suspects_are_marked():
    quiet, loud = run(), run(high=[3])
    assert red(draw_bars([loud])) > red(draw_bars([quiet])) == 0
    assert (
        red(draw_grid(loud, loud.inspection.pictures))
        > red(draw_grid(quiet, quiet.inspection.pictures))
        == 0
    )


def test_of_many_classes_the_suspects_are_drawn():
    last = MAX_CLASSES + 60
    loud = run(last + 1, high=[last])
    assert red(draw_grid(loud, loud.inspection.pictures)) > 0


def test_a_file_for_each_method_and_one_for_all(tmp_path):
    found = [run(name="one"), Run(Inspection("two", backdoored=True), 1.0), run(name="three")]
    files = write_pictures(found, tmp_path / "made")
    assert sorted(file.name for file in files) == ["anomaly.png", "one.png", "three.png"]
    assert all(file.is_file() for file in files)
    again = {file: file.read_bytes() for file in files}
    write_pictures(found, tmp_path / "made")
    assert again == {file: file.read_bytes() for file in files}


def test_where_there_is_nothing_to_draw_no_folder_is_made(tmp_path):
    assert write_pictures([Run(Inspection("two", backdoored=True), 1.0)], tmp_path / "made") == []
    assert not (tmp_path / "made").exists()


def test_a_folder_that_takes_no_pictures(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full" / "one.png").mkdir(parents=True)
    for name in ("file", "no/folder", "full"):
        with pytest.raises(OutputError):
            check_picture_folder(tmp_path / name, ["one"])
    check_picture_folder(tmp_path / "new", ["one"])
    assert not (tmp_path / "new").exists()


def test_hints_and_methods_that_could_not_tell_differ_in_the_picture():
    plain, silent = run(), Run(Inspection("two"), 1.0)
    hint = Run(plain.inspection, 1.0, decides=False)
    assert draw_bars([plain]) != draw_bars([hint])
    assert draw_bars([plain, silent]) != draw_bars([plain])
    assert_nothing_is_cut_off(draw_bars([plain, silent, silent]))


def test_pictures_of_some_classes_are_drawn_in_the_order_of_the_classes():
    pictures = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    probabilities = torch.zeros(100, dtype=torch.float64)
    probabilities[93] = 0.99

    def drawn(*pictured, of=pictures):
        found = Inspection(
            "scan",
            threshold=0.9,
            backdoored=True,
            probabilities=probabilities,
            pictures=of,
            pictured=pictured,
        )
        return draw_grid(Run(found, 1.0), of)

    assert_nothing_is_cut_off(drawn(93, 7))
    assert drawn(93, 7) == drawn(7, 93, of=pictures.flip(0)) != drawn(7, 93)
    # The likely one is framed.
    assert red(drawn(93, 7)) > red(drawn(8, 7))
