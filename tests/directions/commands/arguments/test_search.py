import pytest

from torchserve_fire_build.commands.arguments.search import (
    add_search_arguments,
    check_search_arguments,
    read_search_settings,
)
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.commands.parser import OneLineParser
from torchserve_fire_build.commands.refusal import Refusal
from torchserve_fire_build.reconstruct.methods import AFFORDABLE, LEVELS, SEARCH_METHODS, SHARE
from torchserve_fire_build.reconstruct.screening import THRESHOLD
from torchserve_fire_build.reconstruct.settings import OWN_VALUES, SearchSettings


def read(*arguments, methods=AFFORDABLE, to_the_end=True):
    parser = OneLineParser()
    add_search_arguments(parser, to_the_end=to_the_end)
    args = parser.parse_args(list(arguments))
    check_search_arguments(args, methods)
    return read_search_settings(args)


@pytest.mark.parametrize("to_the_end", [True, False])
@pytest.mark.parametrize("methods", [(), AFFORDABLE, ("abs", "meta-classifier")])
def test_nothing_is_set_unless_somebody_does(methods, to_the_end):
    assert read(methods=methods, to_the_end=to_the_end) == OWN_VALUES


def test_each_flag_is_read():
    flags = "--bound 51 --patch-share 0.5 --screening-steps 40 --steps 50 --anomaly-index 2.5"
    assert read(*flags.split(), methods=("additive", "abs")) == SearchSettings(
        bound=0.2, patch_share=0.5, screening_steps=40, steps=50, anomaly_index=2.5
    )


def test_the_most_that_there_is():
    settings = read("--bound", "255", "--patch-share", "1", methods=("smooth", "abs"))
    assert (settings.bound, settings.patch_share) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bound", "0"), "--bound 0: expected a number above 0, at most 255"),
        (("--bound", "255.5"), "--bound 255.5: expected a number above 0, at most 255"),
        (("--bound", "nan"), "--bound nan: expected a number"),
        (("--patch-share", "1.5"), "--patch-share 1.5: expected a number above 0, at most 1"),
        (("--screening-steps", "0"), "--screening-steps 0: expected a whole number, 1 or"),
        (("--steps", "-3"), "--steps -3: expected a whole number, 1 or more"),
        (("--anomaly-index", "0"), "--anomaly-index 0: expected a number above 0"),
        (("--anomaly-index", "inf"), "--anomaly-index inf: expected a number above 0"),
        (("--patch-share", "0.1"), "--patch-share 0.1: expected beside a search .* it: abs$"),
        (("--steps", "59"), "--steps 59: expected at least the 60 .* generated compares"),
        (("--steps", "20", "--screening-steps", "21"), "expected at least the 21 steps"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(Refusal, match=message):
        read(*arguments)


def test_what_no_search_takes_is_refused():
    for flag in ("--bound", "--screening-steps", "--steps", "--anomaly-index"):
        with pytest.raises(Refusal, match=f"{flag} 9: expected beside a search"):
            read(flag, "9", methods=("neuron-inspect",))
    with pytest.raises(
        Refusal,
        match=r"it: generated, additive, additive-linf, smooth, feature-space, sinusoidal$",
    ):
        read("--bound", "9", methods=("neural-cleanse", "abs"))


def test_to_compare_classes_a_screening_may_be_longer_than_a_search():
    settings = read("--screening-steps", "900", methods=["additive"], to_the_end=False)
    assert settings.screening_steps == 900


@pytest.mark.parametrize("command", ["build", "inspect"])
def test_the_help_tells_the_defaults(capsys, monkeypatch, command):
    # So wide that no line is broken.
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out

    def listed(names, value):
        return (
            "(default: "
            + ", ".join(f"{name} {value(SEARCH_METHODS[name]):g}" for name in names)
            + ")"
        )

    for unit, width in ((LEVELS, 255), (SHARE, 1)):
        of_unit = [name for name in SEARCH_METHODS if SEARCH_METHODS[name].unit == unit]
        assert listed(of_unit, lambda method, width=width: width * method.bound) in text
    assert listed(SEARCH_METHODS, lambda method: method.screening) in text
    assert (listed(SEARCH_METHODS, lambda method: method.steps) in text) == (command == "build")
    assert f"(default: {THRESHOLD:g})" in text
