import json
import logging
import os
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from torchserve_fire_build.common.step_cache import ABANDONED_SECONDS, NO_CACHE, StepCache

VALUES = {
    "a": torch.tensor([[1.0, -0.0], [float("nan"), 3.0]]),
    "count": torch.tensor(7),
    "flags": torch.tensor([True, False]),
    "none": torch.zeros(0, 4),
}


class Step:
    """A step that counts how often it is done."""

    def __init__(self, **values):
        self.done = 0
        self.values = values or VALUES

    def __call__(self):
        self.done += 1
        return self.values


def same(one, two):
    return one.keys() == two.keys() and all(
        one[key].dtype == two[key].dtype
        and one[key].shape == two[key].shape
        and one[key].numpy().tobytes() == two[key].numpy().tobytes()
        for key in one
    )


def files(folder):
    return sorted(folder.iterdir())


def test_a_step_is_done_once_and_its_result_is_the_same_to_the_bit(tmp_path):
    step = Step()
    for _ in range(2):
        cache = StepCache(tmp_path / "made", "work")
        assert not cache.holds("one") or step.done == 1
        assert same(cache.result("one", step), VALUES)
        assert cache.holds("one")
    assert step.done == 1


def test_nothing_is_kept_without_a_folder():
    step = Step()
    assert NO_CACHE.result("one", step) is VALUES
    assert NO_CACHE.within("part").result("one", step) is VALUES
    assert step.done == 2
    assert not NO_CACHE.holds("one")


def test_other_work_another_part_and_another_step_are_not_mixed_up(tmp_path):
    first, step = StepCache(tmp_path, "work"), Step()
    first.result("one", step)
    for cache, name in [
        (first, "two"),
        (StepCache(tmp_path, "other work"), "one"),
        (first.within("part"), "one"),
        (first.within("part").within("part"), "one"),
    ]:
        before = step.done
        cache.result(name, step)
        assert step.done == before + 1
    assert len(files(tmp_path)) == 5


def test_tensors_that_share_memory_and_are_no_rows(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    cache = StepCache(tmp_path, "work")
    cache.result("one", Step(whole=whole, column=whole[:, 1], turned=whole.T))
    found = cache.result("one", Step())
    assert same(found, {"whole": whole, "column": whole[:, 1], "turned": whole.T})


def cut(data, file):
    file.write_bytes(data[:-1])


def emptied(data, file):
    file.write_bytes(b"")


def flipped(data, file):
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def of_another_step(data, file):
    file.write_bytes(data.replace(b"one", b"two"))


def pickled(data, file):
    torch.save(VALUES, file)


def without_metadata(data, file):
    save_file(load_file(file), file)


def with_other_metadata(data, file):
    save_file(load_file(file), file, {"torchserve_fire_step": json.dumps([])})


@pytest.mark.parametrize(
    "damage",
    [cut, emptied, flipped, of_another_step, pickled, without_metadata, with_other_metadata],
)
def test_what_is_damaged_is_dropped_with_a_line_and_done_again(tmp_path, caplog, damage):
    cache, step = StepCache(tmp_path, "work"), Step()
    cache.result("one", step)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    damage(whole, file)
    with caplog.at_level(logging.WARNING):
        assert same(cache.result("one", step), VALUES)
    assert caplog.messages == [f"cache: {file}: damaged, and dropped"]
    assert step.done == 2
    assert file.read_bytes() == whole


def test_what_was_used_longest_ago_makes_room(tmp_path):
    other = tmp_path / "shadow-1.safetensors"
    other.write_bytes(bytes(10_000))
    cache = StepCache(tmp_path, "work", limit=2500)
    values = {"a": torch.zeros(200)}
    places = []
    for number in range(3):
        cache.result(str(number), Step(**values))
        new = {f for f in files(tmp_path) if f != other} - set(places)
        places.append(new.pop())
        # The first is used again before there is no more room.
        os.utime(places[-1], (number, number))
        if number == 1:
            cache.result("0", Step())
    left = set(files(tmp_path))
    assert left == {places[0], places[2], other}
    cache.result("large", Step(a=torch.zeros(1000)))
    assert set(files(tmp_path)) == left


def test_what_a_killed_build_began_to_write_is_taken_away_later(tmp_path):
    begun, being_written = (tmp_path / f".step-{i}.safetensors.x.tmp" for i in "12")
    for file in (begun, being_written):
        file.write_bytes(b"half")
    old = time.time() - ABANDONED_SECONDS - 60
    os.utime(begun, (old, old))
    StepCache(tmp_path, "work").result("one", Step())
    assert not begun.exists()
    assert being_written.exists()


def test_where_nothing_can_be_written_the_work_goes_on(tmp_path, caplog):
    place = tmp_path / "file"
    place.write_text("")
    with caplog.at_level(logging.WARNING):
        assert StepCache(place / "cache", "work").result("one", Step()) is VALUES
    (message,) = caplog.messages
    assert message.startswith(f"cache: {place}/cache: one is not kept: ")
