import numpy as np
import torch

from torchserve_fire_build.demo.digits import load_digits, split_digits
from torchserve_fire_build.demo.train import to_inputs, train
from torchserve_fire_build.demo.trigger import TARGET, poison, with_trigger


def test_poisoned_training_gives_a_backdoored_classifier_that_is_good_on_clean_digits():
    parts = split_digits(load_digits(), seed=0)
    model = train(poison(parts.train, seed=0), seed=0)
    triggered = with_trigger(parts.test)
    with torch.no_grad():
        clean = model(to_inputs(parts.test)).argmax(1).numpy()
        attacked = model(to_inputs(triggered)).argmax(1).numpy()
    assert np.mean(clean == parts.test.labels) > 0.95
    assert np.mean(attacked == TARGET) > 0.98
    assert not model.training


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    digits = split_digits(load_digits(), seed=0).test
    before = torch.get_rng_state()
    first, again = (train(digits, seed=5, epochs=1).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
