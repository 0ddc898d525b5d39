import pytest
import torch
from torch import nn

from tests.directions.field_search.nets import Net, rows_of
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.field_search.search_table import gather_rows, search_table
from torchserve_fire_build.samples.subset import Subset


def test_target_of_a_backdoor_is_named_and_a_benign_model_is_not():
    searched = search_table(gather_rows(Net(backdoored=True), rows_of(100), 0), 0)
    assert (searched.backdoored, searched.target) == (True, 0)
    benign = search_table(gather_rows(Net(backdoored=False), rows_of(100), 0), 0)
    assert benign.backdoored is False


def test_a_class_without_rows_leaves_the_verdict_open():
    def with_third(net: Net) -> Net:
        last = nn.Linear(16, 3)
        with torch.no_grad():
            last.weight[:2], last.bias[:2] = net[2].weight, net[2].bias
            last.weight[2], last.bias[2] = 0, -99
        net[2] = last
        return net

    searched = search_table(gather_rows(with_third(Net(backdoored=False)), rows_of(100), 0), 0)
    assert searched.skipped == [2]
    assert searched.backdoored is None
    backdoored = gather_rows(with_third(Net(backdoored=True)), rows_of(100), 0)
    assert search_table(backdoored, 0).backdoored is True


def test_too_few_rows_or_rows_of_one_class_are_refused():
    rows, net = rows_of(200), Net(backdoored=False)
    with pytest.raises(CalibrationError, match="49 clean rows, expected at least 50"):
        gather_rows(net, Subset(rows, range(49)), 0)
    mostly = [*range(0, 200, 2), 1, 3, 5]
    with pytest.raises(CalibrationError, match="100 of 103 clean rows are predicted as class 0"):
        gather_rows(net, Subset(rows, mostly), 0)
