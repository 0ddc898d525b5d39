"""Which of several repairs a flagged sample goes through: worked out by hand, repair by repair."""

import pytest
import torch
from torch import nn

from torchserve_fire.errors import RepairError
from torchserve_fire.repair.corrections import Projection
from torchserve_fire.repair.pass_state import Attached, PassState
from torchserve_fire.repair.repetition import repeat_flagged
from torchserve_fire.repair.verdict import Judge


class Moved(nn.Module):
    """Logits that are the input, plus what the repair that is running adds."""

    def __init__(self, attached, moves):
        super().__init__()
        self.attached, self.moves = attached, moves
        self.asked = []

    def forward(self, x):
        repair = self.attached.state.repeating
        self.asked.append((repair, x[:, 0].tolist()))
        return x + torch.tensor(self.moves[repair])


def repeated(x, flagged, targets, moves, *, forced=False):
    """The outputs of samples, and which of them each repair was asked for, by their first logit."""
    judges = [Judge(Projection(torch.ones(1), 0.0), t is not None, t) for t in targets]
    attached = Attached(PassState(frozenset()), judges, passes=2)
    attached.state.forced = forced
    model = Moved(attached, moves)
    masks = [torch.tensor(one) for one in flagged]
    result = repeat_flagged(model, attached, (x,), {}, x, masks, len(x))
    assert attached.state.repeating is None
    return result, model.asked


TO_1, TO_2, NOWHERE = [0.0, 50.0, 0.0], [0.0, 0.0, 50.0], [0.5, 0.0, 0.0]
"""What moves a sample of class 0 to class 1, to class 2, and not away from it."""
OF_0 = torch.tensor([[1.0, 0, 0], [2.0, 0, 0], [3.0, 0, 0]])
BOTH = [[True, True, False], [True, True, True]]


def test_what_the_first_repair_leads_away_the_second_is_not_asked_for():
    result, asked = repeated(OF_0, BOTH, (0, 0), [TO_1, TO_2])
    assert asked == [(0, [1.0, 2.0]), (1, [3.0])]
    assert result.argmax(1).tolist() == [1, 1, 2]


def test_what_the_first_repair_leaves_at_the_target_goes_through_the_second():
    result, asked = repeated(OF_0, BOTH, (0, 0), [NOWHERE, TO_2])
    # With the model's input as it was, not as the first repair moved it.
    assert asked == [(0, [1.0, 2.0]), (1, [1.0, 2.0, 3.0])]
    assert torch.equal(result, OF_0 + torch.tensor(TO_2))


def test_only_those_samples_go_on_that_are_still_predicted_as_the_target():
    # The first repair leads the first sample away, the second one has more of the target.
    x = torch.tensor([[1.0, 0, 0], [80.0, 0, 0], [3.0, 0, 0]])
    result, asked = repeated(x, BOTH, (0, 0), [TO_1, TO_2])
    assert asked == [(0, [1.0, 80.0]), (1, [80.0, 3.0])]
    assert result.argmax(1).tolist() == [1, 0, 2]


def test_what_only_the_first_repair_flags_keeps_its_answer_even_at_the_target():
    flagged = [[True, True, False], [False, True, False]]
    result, asked = repeated(OF_0, flagged, (0, 0), [NOWHERE, TO_2])
    assert asked == [(0, [1.0, 2.0]), (1, [2.0])]
    assert result.tolist() == [[1.5, 0, 0], [2.0, 0, 50], [3.0, 0, 0]]


def test_where_no_repair_leads_away_the_last_one_has_the_say():
    result, asked = repeated(OF_0[:1], [[True]] * 3, (0,) * 3, [NOWHERE, NOWHERE, [0.25, 0, 0]])
    assert [repair for repair, _ in asked] == [0, 1, 2]
    assert result.tolist() == [[1.25, 0, 0]]


def test_the_third_repair_is_asked_after_two_that_do_not_lead_away():
    x = torch.tensor([[1.0, 0, 0], [60.0, 0, 0]])
    result, asked = repeated(x, [[True, True]] * 3, (0,) * 3, [NOWHERE, TO_1, [0, 0, 99.0]])
    assert asked == [(0, [1.0, 60.0]), (1, [1.0, 60.0]), (2, [60.0])]
    assert result.argmax(1).tolist() == [1, 2]


def test_a_repair_that_asks_for_no_target_is_the_last_of_its_samples():
    _, asked = repeated(OF_0, BOTH, (None, 0), [NOWHERE, TO_2])
    assert asked == [(0, [1.0, 2.0]), (1, [3.0])]


def test_different_targets_never_mix():
    x = torch.tensor([[1.0, 0, 0], [0.0, 2, 0]])
    flagged = [[True, False], [False, True], [True, False]]
    result, asked = repeated(x, flagged, (0, 1, 0), [NOWHERE, TO_2, TO_1])
    assert asked == [(0, [1.0]), (1, [0.0]), (2, [1.0])]
    assert result.argmax(1).tolist() == [1, 2]
    # The first one is led to the second one's target: it is not that one's to repair.
    result, asked = repeated(x, flagged, (0, 1, 0), [TO_1, TO_2, TO_1])
    assert asked == [(0, [1.0]), (1, [0.0])]
    assert result.argmax(1).tolist() == [1, 2]


def test_where_nothing_is_flagged_nothing_is_run():
    assert repeated(OF_0, [[False] * 3] * 2, (0, 0), [TO_1, TO_2]) == (None, [])


def test_the_plain_output_is_not_written_to():
    plain = OF_0.clone()
    repeated(OF_0, BOTH, (0, 0), [TO_1, TO_2])
    assert torch.equal(plain, OF_0)


def test_to_prove_them_every_repair_is_run_on_every_sample():
    _, asked = repeated(OF_0, [[True] * 3] * 2, (0, 0), [TO_1, TO_2], forced=True)
    assert asked == [(0, [1.0, 2.0, 3.0]), (1, [1.0, 2.0, 3.0])]


def test_a_repetition_that_raises_ends():
    judges = [Judge(Projection(torch.ones(1), 0.0), True, 0)]
    attached = Attached(PassState(frozenset()), judges, passes=2)
    with pytest.raises(IndexError):
        repeat_flagged(
            Moved(attached, []), attached, (OF_0,), {}, OF_0, [torch.tensor([True] * 3)], 3
        )
    assert (attached.state.repeating, attached.state.fired) == (None, None)
    with pytest.raises(RepairError, match="no tensor with one row per input sample"):
        repeat_flagged(Moved(attached, []), attached, (OF_0,), {}, None, [torch.tensor([True])], 3)
