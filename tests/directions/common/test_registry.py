import pytest

from tests.directions.messages import one_line
from tests.directions.their_package import install
from torchserve_fire.errors import FireError
from torchserve_fire_build.common.errors import UnknownNameError
from torchserve_fire_build.common.registry import Registry

BUILT_IN = {"second": 2, "first": 1}


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Two entries that are built in, and what a package adds to them."""
    points = {
        "zebra": "their_methods:add",
        "ant": "their_broken:add",
        "bee": "their_methods:nothing",
        "cow": "their_methods:NUMBER",
        "first": "their_methods:add",
    }
    install(tmp_path, {"tests.numbers": points, "tests.others": {"cat": "their_methods:add"}})
    monkeypatch.syspath_prepend(tmp_path)
    return Registry("tests.numbers", BUILT_IN)


def test_built_in_entries_come_first_then_added_ones(registry):
    expected = ["second", "first", "ant", "bee", "cow", "zebra"]
    assert list(registry) == expected
    assert len(registry) == 6
    registry["zebra"]
    # What was asked for already changes nothing.
    assert list(registry) == expected
    assert len(registry) == 6


def test_names_are_known_without_importing_anything(registry, capsys):
    assert "ant" in registry
    assert "zebra" in registry
    assert "cat" not in registry
    assert list(registry)
    assert capsys.readouterr().out == ""


def test_an_entry_is_imported_when_it_is_first_used(registry):
    assert registry["zebra"](1, 2) == (1, 2)
    assert registry["zebra"] is registry["zebra"]
    assert registry.get("zebra") is registry["zebra"]


def test_built_in_entries_are_not_overridden(registry):
    assert registry["first"] == 1
    assert [registry[name] for name in BUILT_IN] == [2, 1]


def test_an_entry_that_cannot_be_imported_is_named_in_one_line(registry):
    for name, reason in (("ant", "no such library"), ("bee", "nothing")):
        with pytest.raises(FireError) as caught:
            registry[name]
        one_line(caught, f"{name}, an entry point of tests.numbers", "their-package", reason)


def test_an_unknown_name_is_refused(registry):
    with pytest.raises(KeyError, match="dog"):
        registry["dog"]
    assert registry.get("dog") is None


def test_a_registry_without_added_entries():
    registry = Registry("tests.nobody", BUILT_IN)
    assert dict(registry) == BUILT_IN
    assert list(registry.items()) == [("second", 2), ("first", 1)]


def test_an_unknown_name_is_refused_with_those_that_are_known(registry):
    with pytest.raises(UnknownNameError) as caught:
        registry["zebr"]
    assert str(caught.value) == (
        "'zebr': expected one of second, first, ant, bee, cow, zebra; did you mean zebra?"
    )
    assert isinstance(caught.value, FireError)
    assert registry.get("zebr") is None


def test_an_added_entry_of_another_kind_is_named_in_one_line(registry):
    their = "an entry point of tests.numbers that their-package adds,"
    with pytest.raises(FireError, match=f"^cow, {their} is a int, expected a function$"):
        registry["cow"]
    of_kind = Registry("tests.numbers", BUILT_IN, kind=int)
    assert of_kind["cow"] == 7
    with pytest.raises(FireError, match=f"^zebra, {their} is a function, expected a int$"):
        of_kind["zebra"]
    returning = Registry("tests.numbers", BUILT_IN, returns=list | None)
    with pytest.raises(FireError, match=f"^zebra, {their} returned a tuple, expected list or None"):
        returning["zebra"](1)
    with pytest.raises(FireError, match=f"^zebra, {their} failed: TypeError: .*unexpected"):
        returning["zebra"](more=1)
