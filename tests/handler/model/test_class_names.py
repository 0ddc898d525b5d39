import json

import pytest

from torchserve_fire.errors import ConfigError
from torchserve_fire.model.class_names import read_class_names


def written(tmp_path, text):
    path = tmp_path / "index_to_name.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "names",
    [
        {"1": "dog", "0": "cat"},
        {"object_type_names": ["cat", "dog"]},
    ],
)
def test_names_are_in_the_order_of_the_classes(tmp_path, names):
    assert read_class_names(written(tmp_path, json.dumps(names)), 2) == [("cat",), ("dog",)]


def test_a_class_may_have_several_names(tmp_path):
    path = written(tmp_path, '{"0": ["n02", "cat"], "1": "dog"}')
    assert read_class_names(path, 2) == [("n02", "cat"), ("dog",)]


def test_a_byte_order_mark_is_passed_over(tmp_path):
    assert read_class_names(written(tmp_path, b'\xef\xbb\xbf{"0": "cat"}'), 1) == [("cat",)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"1": "a", "2": "b", "3": "c"}', "is numbered from 1"),
        ('{"0": "a", "2": "c"}', "no name of class 1;"),
        ('{"0": "a"}', "no name of class 1, 2;"),
        ('{"0": "a", "1": "b", "2": "c", "7": "d"}', "7, which is no class;"),
        ('{"0": "a", "1": "b", "2": "c", "1": "d"}', "class 1 twice;"),
        ("{}", "has no class;"),
        ('{"object_type_names": ["a", "b"]}', "no name of class 2;"),
        ('{"0": "a", "1": "b", "02": "c"}', "'02' in the place of an index"),
    ],
)
def test_names_that_are_not_those_of_the_model_are_refused(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_class_names(path, 3)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message


def test_where_the_number_of_classes_is_unknown_none_is_left_out(tmp_path):
    assert len(read_class_names(written(tmp_path, '{"0": "a", "1": "b"}'))) == 2
    for text in ('{"1": "a", "2": "b"}', '{"0": "a", "2": "b"}'):
        with pytest.raises(ConfigError, match="expected a name for each of the classes, 0 to 1"):
            read_class_names(written(tmp_path, text))
