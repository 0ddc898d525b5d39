from argparse import ArgumentParser
from pathlib import Path

import pytest

from benchmarks.options import add_options, make_folder, named_victims
from benchmarks.victims.catalogue import VICTIMS


def test_without_names_it_is_all_victims():
    parser = ArgumentParser()
    add_options(parser)
    args = parser.parse_args(["--data", "d", "--cache", "c"])
    assert (args.data, args.cache) == (Path("d"), Path("c"))
    assert named_victims(args.victims) == list(VICTIMS)


def test_names_in_the_order_of_the_catalogue():
    last, first = VICTIMS[5], VICTIMS[2]
    assert named_victims([last.name, first.name]) == [first, last]


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(SystemExit, match=f"no wanet-vg among .*{VICTIMS[0].name}"):
        named_victims(["wanet-vg", VICTIMS[0].name])


def test_a_folder_that_cannot_be_made(tmp_path):
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/fire-results")):
        with pytest.raises(SystemExit, match=str(folder)):
            make_folder(folder)
