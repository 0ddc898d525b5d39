import torch

from tests.directions.backdoored import write_images
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.subset import unlabelled

IMAGES = HandlerConfig(input="image", image_size=(8, 8), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def test_folders_are_no_classes_and_names_make_no_pairs(tmp_path):
    pool = open_samples(write_images(tmp_path / "pool", [0, 1, 2, 3] * 4), IMAGES)
    clean = open_samples(write_images(tmp_path / "clean", [0, 1, 2, 3] * 4), IMAGES)
    some = unlabelled(pool, [3, 0, 5])
    assert some.class_names is None
    assert some.labels is None
    assert torch.equal(some.load([0, 2]), pool.load([3, 5]))
    assert not gather_evidence(clean, some).paired
    inner = open_samples(write_images(tmp_path / "of" / "pool", [0, 1, 2, 3] * 4).parent, IMAGES)
    assert all(name.startswith("pool/") for name in inner.names)
    assert not gather_evidence(inner, some).paired
    others = unlabelled(pool, [1, 2, 4])
    assert not gather_evidence(others, some).paired
