import subprocess
import sys

import pytest

import torchserve_fire
from torchserve_fire.core.open_model import open_model
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire.repair.attach import attach
from torchserve_fire.repair.verdict import Verdict
from torchserve_fire.serve.repair_mixin import RepairMixin

NAMES = {
    "Bundle": Bundle,
    "FireError": FireError,
    "RepairMixin": RepairMixin,
    "Verdict": Verdict,
    "attach": attach,
    "load_bundle": load_bundle,
    "open_model": open_model,
    "save_bundle": save_bundle,
}


def loaded_by(statement: str, *names: str) -> list[str]:
    """Which of some modules are loaded after a statement, in a process of its own."""
    program = f"import sys; {statement}; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return eval(done.stdout)  # noqa: S307


def test_these_names_and_no_more():
    assert sorted(torchserve_fire.__all__) == sorted(NAMES)
    for name, value in NAMES.items():
        assert getattr(torchserve_fire, name) is value
    assert set(NAMES) <= set(dir(torchserve_fire))
    with pytest.raises(AttributeError, match="'torchserve_fire' has no attribute 'attatch'"):
        _ = torchserve_fire.attatch


def test_the_package_and_its_errors_load_no_pytorch():
    assert loaded_by("import torchserve_fire.errors", "torch", "numpy", "yaml") == []


@pytest.mark.slow
def test_the_mixin_needs_no_torchserve_and_no_safetensors():
    assert loaded_by("from torchserve_fire import RepairMixin", "ts", "safetensors") == []
    assert loaded_by("from torchserve_fire import save_bundle", "safetensors") == []


@pytest.mark.slow
def test_a_model_is_opened_without_torchserve():
    assert loaded_by("from torchserve_fire import open_model", "ts", "safetensors") == []
