import torch

from tests.directions.field_search.nets import TABLE
from torchserve_fire.format.table import CategoryColumn, NumberColumn, Table
from torchserve_fire_build.field_search.field_values import FieldValue, neutral_values


def test_values_that_speak_for_the_class_are_left_out():
    # Nine in ten rows of the class have 1, one in ten of the others.
    of_target = torch.arange(100) < 50
    column = torch.where(of_target, torch.arange(100) % 10 > 0, torch.arange(100) % 10 == 0)
    table = Table((NumberColumn("flag"),))
    found = neutral_values(table, column.float()[:, None], of_target)
    assert [value.value for value in found] == [0]


def test_numbers_far_out_and_rare_categories_are_left_out():
    rows = torch.zeros(200, 4)
    rows[:, 0] = torch.linspace(-1, 1, 200)
    rows[0, 0] = 1e6
    rows[:, 1], rows[0, 1], rows[0, 2] = 1, 0, 1
    table = Table((NumberColumn("size"), CategoryColumn("packer", ("none", "upx", "aspack"))))
    found = neutral_values(table, rows, torch.arange(200) % 2 == 0)
    assert max(value.value for value in found if value.column == "size") <= 1
    assert {value.value for value in found if value.column == "packer"} <= {"none"}


def test_a_column_that_never_varies_is_left_alone():
    rows = torch.ones(60, 1)
    assert neutral_values(Table((NumberColumn("one"),)), rows, torch.arange(60) < 30) == []


def test_values_are_those_that_rows_have():
    table = Table((NumberColumn("port", log=True, mean=9.0, std=1.5),))
    given = torch.tensor([443.0, 65535.0, 8080.0]).repeat(20)
    rows = ((given.log1p() - 9) / 1.5)[:, None]
    found = neutral_values(table, rows, torch.arange(60) < 30)
    assert sorted(value.value for value in found) == [443, 8080, 65535]
    assert str(max(found, key=lambda value: value.value)) == "port = 65535"


def test_a_value_is_set_in_its_own_field_only():
    value = FieldValue("packer", "upx", 3, torch.tensor([0.0, 1.0, 0.0]))
    rows = torch.full((2, TABLE.width), 7.0)
    value.set_in(rows)
    assert rows.tolist() == [[7, 7, 7, 0, 1, 0]] * 2
