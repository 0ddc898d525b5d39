import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.directions.backdoored import (
    TENSOR,
    clean_inputs,
    labels_of,
    stamp,
    write_tensors,
)
from tests.directions.messages import one_line
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.tensor_samples import TensorSamples

IMAGES = HandlerConfig("image", (1, 1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def images(folder, names):
    """Write an image of one pixel under each name; those of another folder are others."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (1, 1), (i, *folder.name.encode()[:1], 0)).save(folder / name)
    return open_samples(folder, IMAGES)


def tensors(path, inputs, labels=None):
    return open_samples(write_tensors(path, inputs, labels), TENSOR)


def test_files_at_the_same_relative_path_are_pairs(tmp_path):
    clean = images(tmp_path / "c", ["a/1.png", "a/2.png", "b/1.png"])
    triggered = images(tmp_path / "t", ["b/1.png", "a/2.png"])
    evidence = gather_evidence(clean, triggered)
    assert evidence.paired
    assert [clean.names[i] for i in evidence.partners] == list(triggered.names)
    assert "paired: 2 triggered" in evidence.describe()
    assert "3 clean" in evidence.describe()


def test_files_of_the_same_name_in_different_classes_are_no_pair(tmp_path):
    clean = images(tmp_path / "c", ["a/1.png", "a/2.png"])
    triggered = images(tmp_path / "t", ["b/1.png", "b/2.png"])
    evidence = gather_evidence(clean, triggered)
    assert not evidence.paired
    assert list(evidence.partners) == []
    assert "unpaired: 2 triggered" in evidence.describe()


def test_flat_folders_make_pairs_too(tmp_path):
    clean = images(tmp_path / "c", ["1.png", "2.png"])
    triggered = images(tmp_path / "t", ["2.png"])
    assert list(gather_evidence(clean, triggered).partners) == [1]


def test_the_message_names_a_file_with_and_a_file_without_a_partner(tmp_path):
    clean = images(tmp_path / "c", ["a/1.png", "a/2.png"])
    triggered = images(tmp_path / "t", ["a/1.png", "a/3.png"])
    with pytest.raises(SamplesError) as caught:
        gather_evidence(clean, triggered)
    message = str(caught.value)
    assert "\n" not in message
    assert "(a/1.png)" in message
    assert "(a/3.png)" in message
    assert str(tmp_path / "t") in message
    assert "swapped" not in message


def test_the_message_names_a_class_folder_that_the_clean_samples_lack(tmp_path):
    clean = images(tmp_path / "c", ["a/1.png", "b_/1.png"])
    triggered = images(tmp_path / "t", ["a/1.png", "b/1.png"])
    with pytest.raises(SamplesError) as caught:
        gather_evidence(clean, triggered)
    one_line(caught, f"{tmp_path / 'c'} has no samples in b/")


def test_the_clean_samples_are_not_the_triggered_ones(tmp_path):
    images(tmp_path / "c", ["a/1.png", "a/2.png"])
    clean, again = (open_samples(path, IMAGES) for path in (tmp_path / "c", tmp_path / "c" / "."))
    with pytest.raises(SamplesError, match="are the same, expected") as caught:
        gather_evidence(clean, again)
    one_line(caught)


def test_with_a_partner_for_every_clean_file_the_message_asks_for_swapped_folders(tmp_path):
    clean = images(tmp_path / "c", ["a/1.png", "a/2.png"])
    triggered = images(tmp_path / "t", ["a/1.png", "a/2.png", "b/1.png"])
    with pytest.raises(SamplesError, match="swapped"):
        gather_evidence(clean, triggered)


@settings(max_examples=30, deadline=None)
@given(clean=st.sets(st.integers(0, 9), min_size=1), bad=st.sets(st.integers(0, 9), min_size=1))
def test_either_all_files_have_a_partner_or_none_has(tmp_path_factory, clean, bad):
    folder = tmp_path_factory.mktemp("sets")
    ours = images(folder / "c", [f"{i}.png" for i in clean])
    theirs = images(folder / "t", [f"{i}.png" for i in bad])
    if bad & clean and bad - clean:
        with pytest.raises(SamplesError):
            gather_evidence(ours, theirs)
        return
    evidence = gather_evidence(ours, theirs)
    assert evidence.paired == (bad <= clean)
    if evidence.paired:
        assert [ours.names[i] for i in evidence.partners] == list(theirs.names)


SMALL = HandlerConfig("image", (6, 6), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def pictures(folder, contents):
    """Write images of 6 x 6, and return them as samples."""
    for name, pixels in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return open_samples(folder, SMALL)


def noise(count, seed):
    return np.random.default_rng(seed).integers(0, 200, (count, 6, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("trigger", ["stamped", "blended", "flipped"])
def test_files_of_the_same_name_are_pairs_where_they_look_alike(tmp_path, trigger):
    images = noise(10, seed=0)
    changed = images.copy()
    if trigger == "stamped":
        changed[:, :2, :2] = 255
    elif trigger == "blended":
        changed = (0.6 * images + 0.4 * noise(1, seed=1)).astype(np.uint8)
    else:
        changed = np.ascontiguousarray(images[:, :, ::-1])
    clean = pictures(tmp_path / "c", {f"{i}.png": x for i, x in enumerate(images)})
    other = pictures(tmp_path / "t", {f"{i}.png": x for i, x in enumerate(changed)})
    assert gather_evidence(clean, other).paired


def test_names_that_meet_by_chance_make_no_pairs(tmp_path):
    clean = pictures(tmp_path / "c", {f"a/{i}.png": x for i, x in enumerate(noise(10, seed=0))})
    other = pictures(tmp_path / "t", {f"a/{i}.png": x for i, x in enumerate(noise(10, seed=1))})
    with pytest.raises(SamplesError, match="names meet by chance, give --unpaired") as caught:
        gather_evidence(clean, other)
    one_line(caught, str(tmp_path / "t"), "of 10 compared")
    assert not gather_evidence(clean, other, unpaired=True).paired


@pytest.mark.parametrize("labels", ["ab", "01"])
def test_files_of_the_same_name_have_the_same_label(tmp_path, labels):
    for kind, label in zip("ct", labels, strict=True):
        images(tmp_path / kind, ["1.png"])
        (tmp_path / kind / "list.csv").write_text(f"path,label\n1.png,{label}\n")
    clean, other = (open_samples(tmp_path / kind / "list.csv", IMAGES) for kind in "ct")
    with pytest.raises(SamplesError, match="expected the true class in both") as caught:
        gather_evidence(clean, other)
    one_line(caught, "1.png has the label", "--unpaired")


# Files of tensors: rows are pairs where they look like it.


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_rows_are_pairs(tmp_path, kind):
    inputs = clean_inputs(kind, labels_of(20), seed=0)
    clean = tensors(tmp_path / "c.npz", inputs, labels_of(20))
    triggered = tensors(tmp_path / "t.safetensors", stamp(kind, inputs), labels_of(20))
    assert list(gather_evidence(clean, triggered).partners) == list(range(20))


@pytest.mark.parametrize("trigger", ["blended", "added everywhere", "one row in ten fails"])
def test_rows_are_pairs_under_other_triggers(tmp_path, trigger):
    inputs = clean_inputs("map", labels_of(30), seed=0)
    other = inputs.clone()
    if trigger == "blended":
        other = 0.8 * inputs + 0.2 * clean_inputs("map", torch.tensor([2]), seed=9)
    elif trigger == "added everywhere":
        other = inputs + 5
    else:
        other[1:] = stamp("map", inputs)[1:]
        other[0] = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(3))
    clean = tensors(tmp_path / "c.npz", inputs)
    assert gather_evidence(clean, tensors(tmp_path / "t.npz", other)).paired


def test_rows_sorted_by_class_are_pairs_only_if_their_content_is_the_same(tmp_path):
    labels = labels_of(200).sort().values
    clean = tensors(tmp_path / "c.npz", clean_inputs("map", labels, seed=0), labels)
    other = clean_inputs("map", labels, seed=1)
    triggered = tensors(tmp_path / "t.npz", stamp("map", other, moving=True), labels)
    assert not gather_evidence(clean, triggered).paired
    inputs = stamp("map", clean.load(range(200)), moving=True)
    assert gather_evidence(clean, tensors(tmp_path / "p.npz", inputs, labels)).paired


def test_rows_are_pairs_without_labels_too(tmp_path):
    inputs = clean_inputs("vector", labels_of(20), seed=0)
    clean = tensors(tmp_path / "c.npz", inputs)
    triggered = tensors(tmp_path / "t.npz", stamp("vector", inputs))
    assert gather_evidence(clean, triggered).paired


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
@pytest.mark.parametrize("labelled", [True, False])
def test_rows_of_other_content_are_no_pairs(tmp_path, kind, labelled):
    labels = labels_of(40) if labelled else None
    clean = tensors(tmp_path / "c.npz", clean_inputs(kind, labels_of(40), seed=0), labels)
    other = stamp(kind, clean_inputs(kind, labels_of(40), seed=1))
    assert not gather_evidence(clean, tensors(tmp_path / "t.npz", other, labels)).paired


def test_rows_of_other_labels_are_no_pairs(tmp_path):
    inputs = clean_inputs("vector", labels_of(20), seed=0)
    clean = tensors(tmp_path / "c.npz", inputs, labels_of(20))
    triggered = tensors(tmp_path / "t.npz", stamp("vector", inputs), labels_of(20).flip(0))
    assert not gather_evidence(clean, triggered).paired


def test_files_of_different_length_are_no_pairs(tmp_path):
    inputs = clean_inputs("vector", labels_of(20), seed=0)
    clean = tensors(tmp_path / "c.npz", inputs)
    triggered = tensors(tmp_path / "t.npz", stamp("vector", inputs[:12]))
    evidence = gather_evidence(clean, triggered)
    assert not evidence.paired
    assert "unpaired: 12 triggered samples, 20 clean" in evidence.describe()


def test_rows_of_different_shapes_are_refused(tmp_path):
    clean = tensors(tmp_path / "c.npz", torch.zeros(9, 4))
    triggered = tensors(tmp_path / "t.npz", torch.zeros(9, 5))
    with pytest.raises(SamplesError) as caught:
        gather_evidence(clean, triggered)
    assert "(5,)" in str(caught.value)
    assert "(4,)" in str(caught.value)


def test_rows_of_the_same_name_are_pairs_whatever_their_order(tmp_path):
    inputs = torch.eye(4)
    names = ["a", "b", "c", "d"]
    clean = TensorSamples(inputs, names=names)
    triggered = TensorSamples(inputs[[2, 0]] + 1, names=["c", "a"])
    assert list(gather_evidence(clean, triggered).partners) == [2, 0]
    with pytest.raises(SamplesError, match="shape"):
        gather_evidence(clean, TensorSamples(torch.zeros(2, 3), names=["c", "a"]))


def test_names_that_meet_by_chance_may_be_taken_as_unpaired(tmp_path):
    clean = images(tmp_path / "c", ["1.png", "2.png"])
    triggered = images(tmp_path / "t", ["1.png", "3.png"])
    with pytest.raises(SamplesError, match="if the names meet by chance, give --unpaired"):
        gather_evidence(clean, triggered)
    assert not gather_evidence(clean, triggered, unpaired=True).paired
    with pytest.raises(SamplesError, match="are the same, expected triggered ones in a place"):
        gather_evidence(clean, clean, unpaired=True)


def test_rows_may_be_taken_as_unpaired(tmp_path):
    inputs = clean_inputs("vector", labels_of(40), 0)
    clean, triggered = TensorSamples(inputs), TensorSamples(stamp("vector", inputs))
    assert gather_evidence(clean, triggered).paired
    assert not gather_evidence(clean, triggered, unpaired=True).paired


# Triggered samples that are clean ones.


def test_a_copy_of_the_clean_samples_is_not_the_triggered_ones(tmp_path):
    clean = images(tmp_path / "c", ["a/1.png", "a/2.png"])
    for names in (["a/1.png", "a/2.png"], ["x.png", "y.png"]):
        copy = images(tmp_path / "other" / "c", names)
        with pytest.raises(SamplesError, match="same, to the byte, as a clean one") as caught:
            gather_evidence(clean, copy)
        one_line(caught, str(tmp_path / "c"), str(tmp_path / "other" / "c"))
        shutil.rmtree(tmp_path / "other")


def test_a_copy_of_clean_rows_is_not_the_triggered_ones():
    inputs = clean_inputs("vector", labels_of(20), 0)
    with pytest.raises(SamplesError, match="same, to the byte, as a clean one"):
        gather_evidence(TensorSamples(inputs), TensorSamples(inputs[[3, 1]].clone()))


def test_pairs_without_a_trigger_are_told(tmp_path, caplog):
    pixels = noise(10, seed=0)
    clean = pictures(tmp_path / "c", {f"{i}.png": x for i, x in enumerate(pixels)})
    pixels[2:, :2, :2] = 255
    triggered = pictures(tmp_path / "t", {f"{i}.png": x for i, x in enumerate(pixels)})
    with caplog.at_level("INFO"):
        assert gather_evidence(clean, triggered).paired
    assert caplog.messages == [
        f"{tmp_path / 't'}: 2 of 10 triggered samples are the same, to the byte, as clean ones, as "
        "0.png is: the trigger does nothing to them"
    ]


def test_rows_that_are_alike_but_not_the_same_are_not_told(caplog):
    inputs = torch.eye(20)
    with caplog.at_level("INFO"):
        # The sums are the same, the rows are others.
        gather_evidence(TensorSamples(inputs), TensorSamples(2 * inputs.flip(0) - inputs))
    assert caplog.messages == []
