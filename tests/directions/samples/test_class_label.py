"""What the classes are called."""

from __future__ import annotations

from pathlib import Path

import torch

from torchserve_fire_build.samples.class_label import label_in, label_of
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def samples(*folders: str) -> TensorSamples:
    made = TensorSamples(torch.zeros(len(folders), 2))
    made.class_names = folders
    return made


def test_by_the_names_file_before_the_folders(tmp_path: Path) -> None:
    names = tmp_path / "index_to_name.json"
    names.write_text('{"0": "airplane", "1": "ship"}')
    for label in (label_in(names), label_of([samples("boat", "plane")], 2, names)):
        assert [label(i) for i in range(3)] == ["0 airplane", "1 ship", "2"]


def test_by_the_folders_of_samples() -> None:
    label = label_of([samples("ship"), samples("airplane")], 2, None)
    assert [label(i) for i in range(3)] == ["0 airplane", "1 ship", "2"]


def test_folders_that_are_numbers_or_do_not_tell_are_no_names() -> None:
    for folders in (("0", "1"), ("ship",), ()):
        groups = [samples(*folders)] if folders else [TensorSamples(torch.zeros(1, 2))]
        assert label_of(groups, 2, None)(0) == "0"
    assert label_in(None)(7) == "7"
