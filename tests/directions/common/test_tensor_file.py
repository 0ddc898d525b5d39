import torch

from torchserve_fire_build.common.tensor_file import TensorFile


def test_tensors_come_back_as_they_were_in_any_order():
    file = TensorFile()
    tensors = {
        "a.map": torch.arange(24.0).view(2, 3, 4).transpose(0, 2),
        "a.count": torch.tensor(7),
        "a.none": torch.empty(0, 3),
        "b.half": torch.tensor([1.5, -2.0]).half(),
    }
    file.store(tensors)
    file.store({"b.more": torch.tensor([True, False])})
    assert file.load("b.")["half"].tolist() == [1.5, -2.0]
    of_a = file.load("a.")
    assert set(of_a) == {"map", "count", "none"}
    for name, tensor in of_a.items():
        assert torch.equal(tensor, tensors[f"a.{name}"])
        assert tensor.dtype == tensors[f"a.{name}"].dtype
    assert file.load("b.")["more"].tolist() == [True, False]
    # Each time a tensor of its own.
    of_a["map"].zero_()
    assert torch.equal(file.load("a.")["map"], tensors["a.map"])
