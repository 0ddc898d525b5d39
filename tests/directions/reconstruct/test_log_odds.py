import math

import torch

from torchserve_fire_build.reconstruct.log_odds import MOST_ODDS, log_odds


def test_log_odds_by_hand():
    odds = log_odds(torch.tensor([[math.log(3), 0.0], [200.0, 0.0]]))
    torch.testing.assert_close(odds[0], torch.tensor([math.log(3), -math.log(3)]))
    assert odds[1].tolist() == [MOST_ODDS, -MOST_ODDS]
