from importlib.metadata import version

from torchserve_fire_build.common.installed import installed_version


def test_of_an_installed_package():
    assert installed_version("torch") == version("torch")


def test_of_a_folder_on_the_path():
    assert installed_version("no-such-package") == "(not installed)"
