import pytest
import torch

from torchserve_fire.core.served_names import served_names
from torchserve_fire.errors import ConfigError, InputError
from torchserve_fire.model.class_names import NAMES_FILE


def test_of_several_names_the_last_is_answered(tmp_path):
    (tmp_path / NAMES_FILE).write_text('{"0": "cat", "1": ["n02", "dog"]}')
    assert served_names(tmp_path, lambda: [torch.zeros(2)]) == {"0": "cat", "1": "dog"}
    with pytest.raises(ConfigError, match="no name of class 2"):
        served_names(tmp_path, lambda: [torch.zeros(3)])


@pytest.mark.parametrize("answered", [[], [InputError("bad")], None])
def test_where_the_model_tells_nothing_the_names_are_taken_as_they_are(tmp_path, answered):
    def predict():
        if answered is None:
            raise RuntimeError
        return answered

    (tmp_path / NAMES_FILE).write_text('{"0": "cat"}')
    assert served_names(tmp_path, predict) == {"0": "cat"}


def test_without_a_file_nothing_is_predicted(tmp_path):
    def predict():
        raise AssertionError

    assert served_names(tmp_path, predict) == {}
