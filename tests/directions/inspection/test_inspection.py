import torch

from torchserve_fire_build.inspection.inspection import Inspection


def test_suspects_are_the_classes_above_the_threshold_the_worst_first():
    index = torch.tensor([2.5, 2.0, -9.0, 7.0]).double()
    found = Inspection("any", index=index)
    assert found.suspects == [3, 0]
    assert found.found is True
    strict = Inspection("any", index=index, threshold=7.5)
    assert strict.suspects == []
    assert strict.found is False


def test_a_method_that_judges_the_whole_model_names_no_class():
    for backdoored in (True, False, None):
        found = Inspection("any", backdoored=backdoored)
        assert found.suspects == []
        assert found.found is backdoored
