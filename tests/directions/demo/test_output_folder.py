from pathlib import Path

import numpy as np
import pytest
import torch

from torchserve_fire.errors import FireError
from torchserve_fire.model.config import load_config
from torchserve_fire.model.load_model import load_model
from torchserve_fire.model.preprocess import read_body
from torchserve_fire_build.demo import digit_net
from torchserve_fire_build.demo.digit_net import DigitNet
from torchserve_fire_build.demo.digits import load_digits
from torchserve_fire_build.demo.digits_demo import HANDLER
from torchserve_fire_build.demo.image_files import write_images
from torchserve_fire_build.demo.output_folder import (
    DemoFiles,
    fresh_output,
    write_model,
)
from torchserve_fire_build.demo.train import to_inputs


def test_written_model_loads_as_a_users_does(tmp_path: Path):
    files = DemoFiles(tmp_path)
    model = DigitNet().eval()
    write_model(files, Path(digit_net.__file__), model, HANDLER)
    config = load_config(files.config)
    loaded = load_model(files.model_file, files.weights, config.model_class)
    assert loaded.class_name == "DigitNet"
    inputs = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.model(inputs), model(inputs))
    assert (config.mode, load_config(files.plain_config).mode) == ("repair", "off")


def test_server_reads_an_image_as_training_saw_it(tmp_path: Path):
    files = DemoFiles(tmp_path)
    write_model(files, Path(digit_net.__file__), DigitNet(), HANDLER)
    digits = load_digits().select(np.arange(5))
    description = load_config(files.config).describe_input()
    bodies = [path.read_bytes() for path in write_images(digits, range(5), tmp_path / "images")]
    read = torch.stack([read_body(body, description) for body in bodies])
    torch.testing.assert_close(read, to_inputs(digits))


def test_finished_output_stays_and_is_replaced_by_the_next(tmp_path: Path):
    root = tmp_path / "out"
    files = DemoFiles(root)
    with fresh_output(files):
        files.bundle.write_text("old")
    assert files.bundle.is_file()
    with fresh_output(files):
        assert not files.bundle.exists()
        assert files.model_store.is_dir()


@pytest.mark.parametrize("error", [KeyboardInterrupt, FireError])
def test_failed_demo_leaves_nothing(tmp_path: Path, error: type[BaseException]):
    def fail() -> None:
        files = DemoFiles(tmp_path / "out")
        with fresh_output(files):
            files.bundle.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_folder_with_other_files_is_refused_and_kept(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FireError, match="holds other files"), fresh_output(DemoFiles(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path):
    path = tmp_path / "out"
    path.write_text("")
    with pytest.raises(FireError, match="is a file"), fresh_output(DemoFiles(path)):
        pass
