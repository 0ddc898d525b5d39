import torch

from torchserve_fire.format.clean_scores import CleanScores


def test_deciles_part_the_scores_into_tenths():
    scores = CleanScores.of(torch.arange(0.0, 101.0).flip(0))
    assert scores.count == 101
    assert scores.deciles == tuple(float(i) for i in range(10, 100, 10))


def test_of_one_sample_all_are_its_score():
    assert CleanScores.of(torch.tensor([2.0])) == CleanScores(1, (2.0,) * 9)
