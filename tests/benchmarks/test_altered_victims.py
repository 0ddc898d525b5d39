import pytest
import torch
from torch import nn

from benchmarks.altered_triggers import ALTERED
from benchmarks.altered_victims import Subject, find_victims, show_altered
from benchmarks.measure import hold
from benchmarks.victims.catalogue import VICTIMS, benign_twin
from benchmarks.victims.data import Data, Images
from benchmarks.victims.recipe import Schedule
from benchmarks.victims.train import obtain_victim
from tests.benchmarks.hand_made import Corner, Victim, images


class AlwaysOne(nn.Module):
    def forward(self, x):
        return torch.tensor([0.0, 1, 0, 0]).expand(len(x), 4)


class AlwaysThree(nn.Module):
    def forward(self, x):
        return torch.tensor([0.0, 0, 0, 1]).expand(len(x), 4)


def subject(*others):
    return Subject(Victim(), others, Corner(), images(), hold(Corner(), images()))


def test_the_victim_sees_every_altered_trigger():
    shown = show_altered(subject())
    assert list(shown) == list(ALTERED)
    assert shown["as it is"].predictions.tolist() == [0] * 8
    assert shown["moved by 4 pixels"].predictions.tolist() == images().labels.tolist()
    assert bool((shown["as it is"].images.pixels[:, :, 0, 0] == 255).all())
    assert {each.ceiling for each in shown.values()} == {1.0}


def test_the_best_of_the_other_models_lowers_the_ceiling():
    # Of the eight labels three are 1, and two are 3.
    for others in ((AlwaysOne(),), (AlwaysThree(), AlwaysOne())):
        shown = show_altered(subject(*others))
        assert {each.ceiling for each in shown.values()} == {3 / 8}


def test_victims_by_name():
    names = [VICTIMS[5].name, VICTIMS[2].name]
    assert list(find_victims(None, names)) == names[::-1]
    assert list(find_victims(None, None)) == [recipe.name for recipe in VICTIMS]
    with pytest.raises(SystemExit, match=r"no wanet-vg among .*wanet-vgg"):
        find_victims(None, ["wanet-vg"])


def test_published_victims_by_name(tmp_path):
    for name in ("triggers.py", "net.py", "net_a.pth", "net_b.pth"):
        (tmp_path / name).write_text("")
    a, b = (f"{tmp_path.name}-{trigger}" for trigger in "ab")
    assert list(find_victims(tmp_path, None)) == [a, b]
    assert list(find_victims(tmp_path, [b])) == [b]
    with pytest.raises(SystemExit, match="no badnets-vgg among"):
        find_victims(tmp_path, ["badnets-vgg"])


def test_the_twin_of_a_trained_victim_is_taken_from_the_cache_alone(tmp_path, monkeypatch):
    recipe = VICTIMS[-1]
    monkeypatch.setattr(
        "benchmarks.victims.recipe.SCHEDULES", {recipe.architecture: Schedule(1, 0.1)}
    )
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (128, 3, 16, 16), generator=generator, dtype=torch.uint8)
    every = Images(pixels, torch.arange(128) % 4)
    data = Data(every, every, every, every, 4, "digest")
    (obtain,) = find_victims(None, [recipe.name]).values()
    found = obtain(data, tmp_path, 6)
    assert found.others == []
    assert len(found.held.clean) == 6
    obtain_victim(benign_twin(recipe), data, tmp_path)
    assert len(obtain(data, tmp_path, 6).others) == 1
