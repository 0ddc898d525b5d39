import pytest

from torchserve_fire_build.archive_repair.answer_form import have_same_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"cat": 0.9, "dog": 0.1}, {"fish": 0.7, "dog": 0.2}),
        ({"cat": 0.9, "dog": 0.1}, {"cat": 1.0}),
        ({"label": "cat", "score": 1}, {"label": "dog", "score": 0.5}),
        ({"cat": {"p": 0.5}}, {"dog": {"p": 0.25}}),
        (["cat"], []),
        ([{"label": "cat"}], [{"label": "dog"}, {"label": "cat"}]),
        ({"label": "cat", "hint": None}, {"label": "cat", "hint": "unsure"}),
        ("cat", "dog"),
        (3, 0.5),
        (b"\x00", b"\x01\x02"),
    ],
)
def test_what_a_client_can_read_as_before(one, other):
    assert have_same_form(one, other)
    assert have_same_form(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"label": "cat"}, {"code": 500, "type": "Error", "message": "no"}),
        ({"label": "cat", "score": 1}, {"label": "cat"}),
        ({"cat": 0.9}, {"predictions": {"cat": 0.9}, "fire": {"flagged": False}}),
        ({"label": "cat"}, {"label": 3}),
        ({"ok": True}, {"ok": 1}),
        ([1], ["one"]),
        ([1], {"a": 1}),
        ("cat", {"label": "cat"}),
        ("text", b"\x00"),
    ],
)
def test_what_a_client_cannot(one, other):
    assert not have_same_form(one, other)
    assert not have_same_form(other, one)
