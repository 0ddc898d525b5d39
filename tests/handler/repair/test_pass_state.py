import threading

import pytest

from torchserve_fire.errors import RepairError
from torchserve_fire.repair.pass_state import PassState

LAYERS = frozenset({"early", "late"})


def test_a_pass_gives_the_layers_in_their_order():
    state = PassState(LAYERS)
    state.begin()
    state.fired += ["late", "early"]
    assert state.close() == ["late", "early"]
    assert state.fired is None


def test_a_layer_that_did_not_run_is_named():
    state = PassState(LAYERS)
    state.begin()
    state.fired += ["early"]
    with pytest.raises(RepairError, match="layer 'late' did not run, or its hook did not fire"):
        state.close()
    with pytest.raises(RepairError, match="layer 'early' did not run"):
        PassState(LAYERS).close()


def test_a_new_pass_knows_nothing_of_the_one_before():
    state = PassState(frozenset())
    state.scores[0], state.verdict = "scores", "verdict"
    state.begin()
    assert (state.fired, state.scores, state.verdict) == ([], {}, None)


def test_each_thread_has_a_state_of_its_own():
    state = PassState(LAYERS)
    state.begin()
    state.scores[0] = "of the first thread"
    seen = []
    thread = threading.Thread(target=lambda: seen.append((state.fired, dict(state.scores))))
    thread.start()
    thread.join()
    assert seen == [(None, {})]
