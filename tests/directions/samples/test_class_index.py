import json

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torchvision.datasets import ImageFolder

from tests.directions.backdoored import TENSOR, write_tensors
from tests.directions.messages import one_line
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.class_index import ClassIndex, class_called
from torchserve_fire_build.samples.kept import KeptSamples
from torchserve_fire_build.samples.labels import find_labels
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.subset import Subset

IMAGES = HandlerConfig("image", (1, 1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def folder_of(path, names, empty=()):
    for name in (*names, *empty):
        (path / name).mkdir(parents=True)
    for name in names:
        Image.new("RGB", (1, 1)).save(path / name / "x.png")
    return open_samples(path, IMAGES)


def labels_by_name(index, samples):
    return dict(zip(samples.class_names, index.labels(samples).tolist(), strict=True))


def test_the_triggered_folder_may_lack_the_folder_of_the_target(tmp_path):
    # ImageFolder, given this folder alone, would call cat 0 and dog 1.
    clean = folder_of(tmp_path / "clean", ["airplane", "cat", "dog"])
    triggered = folder_of(tmp_path / "triggered", ["cat", "dog"])
    assert ImageFolder(str(tmp_path / "triggered")).class_to_idx["cat"] == 0
    index = ClassIndex.find([clean, triggered], 3, None)
    assert labels_by_name(index, clean) == {"airplane": 0, "cat": 1, "dog": 2}
    assert labels_by_name(index, triggered) == {"cat": 1, "dog": 2}
    assert index.labels(triggered).dtype == torch.int64


def test_as_many_folders_as_classes_are_numbered_as_by_torchvision(tmp_path):
    names = ["b", "B", "a", "_", "ä", "10", "9"]
    clean = folder_of(tmp_path / "clean", names)
    index = ClassIndex.find([clean], len(names), None)
    assert labels_by_name(index, clean) == ImageFolder(str(tmp_path / "clean")).class_to_idx


def test_an_empty_class_folder_counts(tmp_path):
    clean = folder_of(tmp_path / "clean", ["cat", "dog"], empty=["airplane"])
    index = ClassIndex.find([clean], 3, None)
    assert labels_by_name(index, clean) == {"cat": 1, "dog": 2}


def test_folders_of_both_sets_count_together(tmp_path):
    clean = folder_of(tmp_path / "clean", ["airplane", "cat"])
    triggered = folder_of(tmp_path / "triggered", ["dog"])
    index = ClassIndex.find([clean, triggered], 3, None)
    assert labels_by_name(index, triggered) == {"dog": 2}


@pytest.mark.parametrize("classes", [4, 2])
def test_too_few_or_too_many_folders_give_no_index(tmp_path, classes):
    clean = folder_of(tmp_path / "clean", ["airplane", "cat", "dog"])
    assert ClassIndex.find([clean], classes, None) is None


def test_folders_called_by_their_class_index(tmp_path):
    triggered = folder_of(tmp_path / "triggered", ["3", "1"])
    index = ClassIndex.find([triggered], 5, None)
    assert labels_by_name(index, triggered) == {"1": 1, "3": 3}


class AnswersByValue(nn.Module):
    """Takes images (N, 3, 1, 1); of a pixel of k / 255 it says that it is of class k."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, images):
        values = (255 * images[:, 0, 0, 0]).round().long()
        return functional.one_hot(values, self.classes).float()


def numbered(path, shown):
    """Folders that are numbers, each with an image of a value."""
    for name, value in shown.items():
        (path / name).mkdir(parents=True)
        Image.new("RGB", (1, 1), (value,) * 3).save(path / name / "x.png")
    return open_samples(path, IMAGES)


@pytest.mark.parametrize("count", [12, 4])
def test_folders_that_are_numbers_are_taken_in_numeric_order(tmp_path, count):
    samples = numbered(tmp_path / "s", {str(i): i for i in range(12 - count, 12)})
    index = ClassIndex.find([samples], 12, None)
    assert labels_by_name(index, samples) == {str(i): i for i in range(12 - count, 12)}


@pytest.mark.parametrize("count", [12, 4])
def test_folders_that_are_numbers_count_as_the_model_counts_them(tmp_path, caplog, count):
    caplog.set_level("INFO")
    # Trained with torchvision's ImageFolder on all of them: "10" comes before "2".
    order = sorted(map(str, range(12)))
    shown = {str(i): order.index(str(i)) for i in range(12 - count, 12)}
    samples = numbered(tmp_path / "s", shown)
    ((labels,), _) = find_labels([samples], 12, None, AnswersByValue(12).eval())
    assert dict(zip(samples.class_names, labels.tolist(), strict=True)) == shown
    assert "sorted as text (0, 1, 10, 2): the model is right on 100%" in caplog.text
    assert caplog.text.count("\n") == 1
    ((numeric,), _) = find_labels([samples], 12, None)
    assert not torch.equal(labels, numeric)


def test_where_the_model_counts_in_numeric_order_so_are_the_folders(tmp_path):
    samples = numbered(tmp_path / "s", {str(i): i for i in range(12)})
    ((labels,), _) = find_labels([samples], 12, None, AnswersByValue(12).eval())
    assert labels_by_name(ClassIndex.find([samples], 12, None), samples) == dict(
        zip(samples.class_names, labels.tolist(), strict=True)
    )


def test_folders_numbered_from_1_are_in_their_order(tmp_path):
    samples = numbered(tmp_path / "s", {str(i): i - 1 for i in range(1, 13)})
    ((labels,), _) = find_labels([samples], 12, None, AnswersByValue(12).eval())
    assert dict(zip(samples.class_names, labels.tolist(), strict=True))["10"] == 9


def test_numbers_of_equal_length_are_sorted_as_numbers(tmp_path):
    some = folder_of(tmp_path / "some", ["02", "10"])
    assert labels_by_name(ClassIndex.find([some], 12, None), some) == {"02": 2, "10": 10}


@pytest.mark.parametrize("name", ["7", "-1", "1.0", "²", "one"])
def test_names_that_are_not_class_indices_give_no_index(tmp_path, name):
    samples = folder_of(tmp_path / "s", ["0", name])
    assert ClassIndex.find([samples], 5, None) is None


@pytest.mark.parametrize(
    "names",
    [
        {"0": "dog", "1": "cat", "2": "airplane"},
        {"0": ["n02", "dog"], "1": ["n01", "cat"], "2": ["n03", "airplane"]},
        {"object_type_names": ["dog", "cat", "airplane"]},
    ],
)
def test_index_to_name_json_goes_first(tmp_path, names):
    clean = folder_of(tmp_path / "clean", ["airplane", "cat", "dog"])
    file = tmp_path / "index_to_name.json"
    file.write_text(json.dumps(names))
    index = ClassIndex.find([clean], 3, file)
    assert labels_by_name(index, clean) == {"airplane": 2, "cat": 1, "dog": 0}


def test_every_name_of_a_list_is_a_name(tmp_path):
    clean = folder_of(tmp_path / "clean", ["n01440764", "crane bird"])
    file = tmp_path / "index_to_name.json"
    file.write_text(json.dumps({"1": ["n02012849", "crane bird"], "0": ["n01440764", "tench"]}))
    index = ClassIndex.find([clean], 2, file)
    assert labels_by_name(index, clean) == {"n01440764": 0, "crane bird": 1}


def test_a_folder_name_that_two_classes_have_is_refused(tmp_path):
    file = tmp_path / "index_to_name.json"
    file.write_text(json.dumps({"1": "crane", "2": "crane", "0": "tench"}))
    clean = folder_of(tmp_path / "clean", ["tench"])
    assert labels_by_name(ClassIndex.find([clean], 3, file), clean) == {"tench": 0}
    other = folder_of(tmp_path / "other", ["crane"])
    with pytest.raises(SamplesError, match=r"crane.*1 and 2"):
        ClassIndex.find([other], 3, file)


def test_names_that_are_not_those_of_the_model_are_refused_without_folders_too(tmp_path):
    file = tmp_path / "index_to_name.json"
    file.write_text('{"1": "cat", "2": "dog"}')
    tensors = open_samples(write_tensors(tmp_path / "s.npz", torch.zeros(2, 2)), TENSOR)
    with pytest.raises(SamplesError) as caught:
        ClassIndex.find([tensors], 2, file)
    one_line(caught, str(file), "is numbered from 1", "number them from 0")


def test_hidden_folders_are_no_classes(tmp_path):
    hidden = [".ipynb_checkpoints", "__MACOSX"]
    clean = folder_of(tmp_path / "clean", ["airplane", "cat", *hidden])
    assert labels_by_name(ClassIndex.find([clean], 2, None), clean) == {"airplane": 0, "cat": 1}


def test_a_missing_names_file_is_refused(tmp_path):
    clean = folder_of(tmp_path / "clean", ["cat", "dog"])
    with pytest.raises(SamplesError, match=r"index_to_name\.json: no such file"):
        ClassIndex.find([clean], 2, tmp_path / "index_to_name.json")


def test_the_names_file_beside_the_configuration_is_read(tmp_path):
    # In alphabetical order they would be the other way round.
    folder_of(tmp_path / "clean", ["cat", "dog"])
    (tmp_path / "index_to_name.json").write_text('{"0": "dog", "1": "cat"}')
    config = tmp_path / "model-config.yaml"
    config.write_text(
        "handler: {input: image, image_size: [8, 8], mean: [0, 0, 0], std: [1, 1, 1]}"
    )
    clean = open_samples(tmp_path / "clean", config)
    for samples in (clean, Subset(clean, range(2)), KeptSamples(clean)):
        index = ClassIndex.find([samples], 2, None)
        assert labels_by_name(index, samples) == {"dog": 0, "cat": 1}
    index = ClassIndex.find([clean], 2, str(tmp_path / "index_to_name.json"))
    assert labels_by_name(index, clean) == {"dog": 0, "cat": 1}


def test_a_folder_that_index_to_name_json_does_not_name_is_refused(tmp_path):
    clean = folder_of(tmp_path / "clean", ["cat", "dgo"])
    file = tmp_path / "index_to_name.json"
    file.write_text('{"0": "cat", "1": "dog"}')
    with pytest.raises(SamplesError) as caught:
        ClassIndex.find([clean], 2, file)
    assert "index_to_name.json" in str(caught.value)
    assert "'dgo'" in str(caught.value)
    assert "did you mean dog?" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": "cat"}', '{"0": []}', '{"0": {}}', "\xff", '{"0": null}']
)
def test_a_damaged_names_file_is_refused(tmp_path, text):
    clean = folder_of(tmp_path / "clean", ["cat"])
    file = tmp_path / "index_to_name.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SamplesError) as caught:
        ClassIndex.find([clean], 1, file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_flat_folders_and_unlabelled_files_have_no_labels(tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "x.png")
    flat = open_samples(tmp_path, IMAGES)
    assert ClassIndex.find([flat], 3, None).labels(flat) is None
    tensors = open_samples(write_tensors(tmp_path / "s.npz", torch.zeros(2, 2)), TENSOR)
    assert ClassIndex.find([tensors], 3, None).labels(tensors) is None


def test_one_group_may_have_labels_and_the_other_none(tmp_path):
    clean = folder_of(tmp_path / "clean", ["cat", "dog"])
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (1, 1)).save(tmp_path / "flat" / "x.png")
    flat = open_samples(tmp_path / "flat", IMAGES)
    index = ClassIndex.find([clean, flat], 2, None)
    assert index.labels(clean).tolist() == [0, 1]
    assert index.labels(flat) is None


def test_labels_of_tensor_files_are_class_indices(tmp_path):
    path = write_tensors(tmp_path / "s.npz", torch.zeros(2, 2), torch.tensor([1, 0]))
    samples = open_samples(path, TENSOR)
    assert ClassIndex.find([samples], 2, None).labels(samples).tolist() == [1, 0]


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_that_is_not_a_class_of_the_model_is_refused(tmp_path, label):
    path = write_tensors(tmp_path / "s.npz", torch.zeros(2, 2), torch.tensor([1, label]))
    samples = open_samples(path, TENSOR)
    with pytest.raises(SamplesError) as caught:
        ClassIndex.find([samples], 2, None).labels(samples)
    assert str(path) in str(caught.value)
    assert str(label) in str(caught.value)


def test_index_to_name_json_with_a_class_that_the_model_lacks_is_refused(tmp_path):
    clean = folder_of(tmp_path / "clean", ["cat"])
    file = tmp_path / "index_to_name.json"
    file.write_text('{"7": "cat"}')
    with pytest.raises(SamplesError, match="7"):
        ClassIndex.find([clean], 2, file).labels(clean)


def test_a_class_is_called_by_its_name_in_the_file_or_by_its_folder(tmp_path):
    clean = folder_of(tmp_path / "clean", ["cat", "dog"])
    assert class_called("dog", [clean], 2, None) == 1
    file = tmp_path / "index_to_name.json"
    file.write_text('{"0": ["n02", "dog"], "1": "cat"}')
    assert class_called("dog", [clean], 2, file) == 0
    assert class_called("n02", [], 2, file) == 0


def test_a_name_that_is_none_of_a_class_is_refused(tmp_path):
    clean = folder_of(tmp_path / "clean", ["airplane", "cat"])
    for groups, said in (
        ([clean], "one of the names (airplane, cat); did you mean airplane?"),
        ([], "nothing says what the classes are called"),
    ):
        with pytest.raises(SamplesError) as caught:
            class_called("airplan", groups, 2, None)
        one_line(caught, "'airplan'", said)
    file = tmp_path / "index_to_name.json"
    file.write_text('{"0": "crane", "1": "crane"}')
    with pytest.raises(SamplesError) as caught:
        class_called("crane", [], 2, file)
    one_line(caught, "the name of 0 and 1")
