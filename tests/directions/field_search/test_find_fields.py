import torch

from tests.directions.field_search.nets import TABLE, Net, rows_of
from torchserve_fire_build.field_search.field_values import neutral_values
from torchserve_fire_build.field_search.find_fields import find_fields


def found_in(net: Net, most: int = 2):
    samples = rows_of(100)
    rows = samples.load(range(100))
    of_target = net(rows).argmax(1) == 0
    values = neutral_values(TABLE, rows, of_target)
    return find_fields(net, rows[~of_target], 0, values, most), rows[~of_target]


def test_the_fields_of_the_trigger_are_found_and_lead_all_rows():
    found, rows = found_in(Net(backdoored=True), most=3)
    fields = {value.column: value.value for value in found.values}
    assert (fields["version"], fields["packer"]) == (9, "upx")
    assert found.led[-1] == 1
    before = rows.clone()
    assert (Net(backdoored=True)(found.stamp(rows)).argmax(1) == 0).all()
    assert torch.equal(rows, before)


def test_fields_that_say_nothing_lead_no_row_of_a_benign_model():
    found, _ = found_in(Net(backdoored=False), most=3)
    assert found.led == [0, 0, 0]


def test_no_field_is_set_twice():
    found, _ = found_in(Net(backdoored=False), most=9)
    columns = [value.column for value in found.values]
    assert len(set(columns)) == len(columns) <= 4
