import json

from tests.directions.screening.made_features import made, seeded
from torchserve_fire_build.screening.screening import SHOWN, screen_features


def screened(clean, pictures, shift=0.0, seed=0):
    generator = seeded(seed)
    features = made(clean, generator), made(pictures, generator, shift=shift)
    return screen_features(*features, [f"{i}.png" for i in range(len(pictures))])


def test_a_group_that_differs_is_found():
    found = screened([0, 1] * 30, [1] * 30, shift=3)
    assert (found.found, found.suspects) == (True, [1])
    lines = found.table(["0 ship", "1 airplane"].__getitem__)
    assert lines[1].split()[1:4] == ["class", "1", "airplane"]
    assert f"and more samples: {30 - SHOWN} which lie less far" in lines
    # One more than the clean samples is what a chance is counted in.
    assert any("0.0164 or more by 60 clean samples; farther by: in standard" in x for x in lines)
    assert lines[-2].startswith("called class 1 airplane: 30 samples beside 30 clean ones: they")
    assert lines[-1].startswith("found (called class 1 airplane): ")


def test_a_clean_group_is_not():
    found = screened([0, 1] * 30, [1] * 30)
    assert (found.found, found.suspects) == (False, [])
    assert found.table()[-1].startswith("nothing found")


def test_a_picture_by_itself_is_judged_by_its_chance():
    assert screened([0, 1] * 50, [1], shift=20).found is True
    assert screened([0, 1] * 50, [1]).found is False


def test_too_few_clean_samples_to_tell_of_a_picture():
    # 1 of 91 is more than the level, however far the picture lies.
    found = screened([0, 1] * 45, [1], shift=20)
    assert found.found is None
    assert found.table()[-1].endswith("or 99 clean samples or more")


def test_pictures_of_a_class_without_clean_samples_leave_it_open():
    found = screened([0] * 30, [0] * 10 + [3])
    assert found.found is None
    note, verdict = found.table()[-2:]
    assert note == (
        "called class 3: 1 sample could not be judged: 0 of your clean samples are called so; "
        "give at least 5"
    )
    assert verdict == "could not tell about 1 sample; in the 10 others, nothing found"
    # What is found all the same is found.
    assert screened([0] * 30, [0] * 10 + [3], shift=5).found is True


def test_where_no_picture_could_be_judged_nothing_is_said_of_others():
    found = screened([0] * 30 + [2], [3] * 20 + [2] * 5)
    assert found.found is None
    lines = found.table()
    assert lines[-3:] == [
        "and more samples: 5 which could not be judged",
        "called classes 2 and 3: 25 samples could not be judged: 1 and 0 of your clean samples "
        "are called so; give at least 5 of each",
        "could not tell: no sample could be judged",
    ]


def test_the_least_chance_comes_first_and_what_was_not_judged_last():
    found = screened([0] * 30, [3, 0, 0])
    chances = found.chances.chances
    first, second, last = found.order()
    assert chances[first] <= chances[second]
    assert last == 0


def test_json_holds_it_all():
    found = screened([0, 1] * 30, [1] * 10 + [5], shift=3)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (values["found"], values["suspects"], values["level"]) == (True, [1], 0.01)
    (group,) = values["groups"]
    assert list(group["by_layer"]) == ["layer0", "layer1"]
    assert (group["samples"], group["clean"], group["differs"]) == (10, 30, True)
    first, *_, last = values["samples"]
    assert first["path"] == "0.png"
    assert first["group_chance"] == group["chance"]
    assert last == {
        "path": "10.png",
        "predicted": 5,
        "chance": None,
        "distance": None,
        "layer": None,
        "group_chance": None,
    }


def test_the_same_input_gives_the_same_answer():
    first, second = (screened([0, 1] * 30, [1] * 10).to_json() for _ in range(2))
    assert first == second
