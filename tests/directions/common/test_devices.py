"""Devices by their names: those that are here, and those that are not."""

import pytest
import torch

from torchserve_fire_build.common.devices import find_device
from torchserve_fire_build.common.errors import OptionError


def gpus(monkeypatch, count):
    """Have torch find so many GPUs, the last of which is the current one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: count - 1)


@pytest.mark.parametrize(
    ("count", "name", "found"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda:1"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda:1"),
        (2, "cuda:0", "cuda:0"),
        (2, torch.device("cuda", 0), "cuda:0"),
    ],
)
def test_the_device_of_a_name(monkeypatch, count, name, found):
    gpus(monkeypatch, count)
    assert find_device(name) == torch.device(found)


@pytest.mark.parametrize(("available", "found"), [(True, "mps"), (False, None)])
def test_mps_is_taken_only_by_its_name(monkeypatch, available, found):
    gpus(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: available)
    assert find_device("auto") == torch.device("cpu")
    if found:
        assert find_device("mps") == torch.device(found)
    else:
        with pytest.raises(OptionError, match="device mps: not here"):
            find_device("mps")


@pytest.mark.parametrize(
    ("count", "name", "there"),
    [(0, "cuda", "cpu"), (0, "cuda:0", "cpu"), (2, "cuda:2", "cpu, cuda:0, cuda:1")],
)
def test_what_is_not_here_is_told_with_what_is(monkeypatch, count, name, there):
    gpus(monkeypatch, count)
    with pytest.raises(OptionError) as told:
        find_device(name)
    assert str(told.value) == (
        f"device {name}: not here, where torch {torch.__version__} finds {there}: name one of "
        "these, or auto; a GPU needs its driver, and a torch that was built for it"
    )


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cuda:", "cuda:-1", "meta", "cuda:1x"])
def test_other_names_are_refused(name):
    with pytest.raises(OptionError, match="expected auto, cpu, cuda, cuda:N or mps"):
        find_device(name)
