import pytest
import torch

from tests.directions.backdoored import TENSOR, labels_of, write_images, write_tensors
from tests.directions.messages import one_line
from torchserve_fire.errors import ConfigError
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.samples.image_folder import ImageFolder
from torchserve_fire_build.samples.open_samples import open_samples

SETTINGS = {"input": "image", "image_size": [8, 8], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
CONFIG = HandlerConfig("image", (8, 8), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
YAML = """\
handler:
  input: image
  image_size: [8, 8]
  mean: [0.5, 0.5, 0.5]
  std: [0.5, 0.5, 0.5]
"""


@pytest.mark.parametrize("given", ["mapping", "path", "text"])
def test_the_handlers_settings_decide_how_samples_are_read(tmp_path, given):
    folder = write_images(tmp_path / "images", [0, 1, 2])
    file = tmp_path / "model-config.yaml"
    file.write_text(YAML)
    samples = open_samples(
        str(folder), {"mapping": SETTINGS, "path": file, "text": str(file)}[given]
    )
    expected = open_samples(folder, CONFIG)
    assert isinstance(samples, ImageFolder)
    assert samples.description == expected.description
    assert torch.equal(samples.load([2, 0]), expected.load([2, 0]))


def test_settings_may_be_a_mapping(tmp_path):
    path = write_tensors(tmp_path / "s.npz", torch.ones(4, 2), labels_of(4))
    samples = open_samples(path, {"input": "tensor"})
    assert samples.description == open_samples(path, TENSOR).description
    assert samples.load([3]).tolist() == [[1, 1]]
    integers = write_tensors(tmp_path / "i.npz", torch.ones(4, 2, dtype=torch.int64))
    assert open_samples(integers, {"input": "integers"}).load([0]).dtype == torch.int64


def test_settings_that_cannot_be_used_are_refused(tmp_path):
    for wrong, named in (({"input": "sound"}, "sound"), ({}, "handler: input: missing")):
        with pytest.raises(ConfigError) as caught:
            open_samples(tmp_path, wrong)
        one_line(caught, named)
    with pytest.raises(ConfigError) as caught:
        open_samples(tmp_path, tmp_path / "nowhere.yaml")
    one_line(caught, "nowhere.yaml")


def test_the_mapping_is_not_changed(tmp_path):
    given = dict(SETTINGS)
    open_samples(write_images(tmp_path, [0]), given)
    assert given == SETTINGS
