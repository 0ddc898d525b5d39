import os
import stat
import time
from dataclasses import replace

import pytest
import torch

from tests.handler.archive import grey
from torchserve_fire.errors import ConfigError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.resizing import SQUASHED, Resizing
from torchserve_fire.model.config import HandlerConfig, QuarantineConfig
from torchserve_fire.model.preprocess import image_to_tensor
from torchserve_fire.watch.quarantine import DAY, UNSEEN, Quarantine
from torchserve_fire_build.samples.open_samples import open_samples

COLOUR = InputDescription("image", (3, 4, 4), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
GREY = InputDescription("image", (1, 4, 4), (0.5,), (0.25,))
TENSOR = InputDescription("tensor", (3,))


def config_of(description):
    return HandlerConfig(
        description.kind, tuple(description.shape[1:]), description.mean, description.std
    )


def noise(seed, description=COLOUR):
    pixels = torch.randint(0, 256, description.shape, generator=torch.Generator().manual_seed(seed))
    mean = torch.tensor(description.mean).view(-1, 1, 1)
    return (pixels / 255 - mean) / torch.tensor(description.std).view(-1, 1, 1)


@pytest.mark.parametrize("description", [COLOUR, GREY])
def test_an_image_is_read_back_by_build_as_the_model_saw_it(tmp_path, description):
    quarantine = Quarantine(QuarantineConfig(tmp_path), "m", description)
    sample = image_to_tensor(grey(77, "JPEG"), description)
    quarantine.keep(sample)
    quarantine.keep(sample)
    samples = open_samples(tmp_path / "m", config_of(description))
    assert torch.equal(samples.load(range(len(samples))), sample[None])


def test_a_cropped_image_is_not_cropped_again(tmp_path):
    cropped = replace(COLOUR, resizing=Resizing(6, True))
    quarantine = Quarantine(QuarantineConfig(tmp_path), "m", cropped)
    sample = noise(0)
    quarantine.keep(sample)
    settings = replace(config_of(COLOUR), resizing=cropped.resizing)
    samples = open_samples(tmp_path / "m", settings)
    assert torch.equal(samples.load([0]), sample[None])
    # Who sends such a file to a server has it resized as any other.
    (file,) = (tmp_path / "m").iterdir()
    assert not torch.equal(image_to_tensor(file.read_bytes(), cropped), sample)
    larger = replace(settings, image_size=(8, 8), resizing=Resizing(10, True))
    again = open_samples(tmp_path / "m", larger).load([0])
    squashed = open_samples(tmp_path / "m", replace(larger, resizing=SQUASHED)).load([0])
    assert torch.equal(again, squashed)


def test_tensors_are_read_back_by_build(tmp_path):
    quarantine = Quarantine(QuarantineConfig(tmp_path), "m", TENSOR)
    kept = torch.tensor([[1.0, -2.5, 3e8], [0.0, 0.0, 1e-9]])
    for sample in kept:
        quarantine.keep(sample)
        quarantine.keep(sample)
    samples = open_samples(tmp_path / "m", HandlerConfig("tensor"))
    read = samples.load(range(len(samples)))
    assert {tuple(row) for row in read.tolist()} == {tuple(row) for row in kept.tolist()}
    assert samples.labels is None
    assert samples.class_names is None


def test_integers_stay_integers(tmp_path):
    quarantine = Quarantine(QuarantineConfig(tmp_path), "m", InputDescription("integers", (3,)))
    kept = torch.tensor([7, 0, 2**40 + 1])
    quarantine.keep(kept)
    samples = open_samples(tmp_path / "m", HandlerConfig("integers"))
    assert torch.equal(samples.load([0]), kept[None])


def test_what_no_image_gives_is_not_kept(tmp_path):
    quarantine = Quarantine(QuarantineConfig(tmp_path), "m", COLOUR)
    quarantine.keep(torch.full((3, 4, 4), 1e6))
    quarantine.keep(noise(0) + 0.01)
    assert list((tmp_path / "m").iterdir()) == []


def test_the_oldest_make_room(tmp_path):
    quarantine = Quarantine(QuarantineConfig(tmp_path), "m", COLOUR)
    quarantine.keep(noise(0))
    (first,) = (tmp_path / "m").iterdir()
    size = first.stat().st_size
    bounded = Quarantine(QuarantineConfig(tmp_path, max_megabytes=3.5 * size / 1e6), "m", COLOUR)
    os.utime(first, (1, time.time() - 60))
    for seed in range(1, 30):
        bounded.keep(noise(seed))
        assert sum(file.stat().st_size for file in (tmp_path / "m").iterdir()) <= 3.5 * size
    assert not first.exists()
    assert len(list((tmp_path / "m").iterdir())) >= 2


def test_what_other_workers_have_added_is_counted_now_and_then(tmp_path):
    one, other = (
        Quarantine(QuarantineConfig(tmp_path, max_megabytes=0.002), "m", COLOUR) for _ in range(2)
    )
    for seed in range(3 * UNSEEN):
        (one if seed % 2 else other).keep(noise(seed))
    # Each may be mistaken by what the other has added since it counted.
    assert sum(file.stat().st_size for file in (tmp_path / "m").iterdir()) <= 2 * 2000


def test_what_is_too_old_is_deleted_at_the_start_and_nothing_else(tmp_path):
    quarantine = Quarantine(QuarantineConfig(tmp_path, max_days=2), "m", COLOUR)
    for seed in range(2):
        quarantine.keep(noise(seed))
    old, new = sorted((tmp_path / "m").iterdir())
    somebodys = tmp_path / "m" / "notes.txt"
    somebodys.write_text("mine")
    for file in (old, somebodys):
        os.utime(file, (1, time.time() - 3 * DAY))
    quarantine.prune()
    assert old.exists()  # At most once an hour.
    Quarantine(QuarantineConfig(tmp_path, max_days=2), "m", COLOUR)
    assert set((tmp_path / "m").iterdir()) == {new, somebodys}


def test_only_the_server_may_read_it(tmp_path):
    quarantine = Quarantine(QuarantineConfig(tmp_path / "q"), "m", COLOUR)
    quarantine.keep(noise(0))
    (file,) = (tmp_path / "q" / "m").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "q" / "m").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"quarantine: folder: .*file/m: Not a directory"):
        Quarantine(QuarantineConfig(tmp_path / "file"), "m", COLOUR)


def test_a_folder_that_is_gone_fails_no_request_and_is_logged_once(tmp_path, caplog):
    quarantine = Quarantine(QuarantineConfig(tmp_path), "m", COLOUR)
    (tmp_path / "m").rmdir()
    quarantine.keep(noise(0))
    quarantine.keep(noise(1))
    assert [record.message for record in caplog.records] == [
        f"torchserve-fire: {tmp_path / 'm'}: a flagged input could not be kept: "
        "No such file or directory"
    ]
