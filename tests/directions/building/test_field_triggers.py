import pytest

from tests.directions.field_search.nets import Net, rows_of
from torchserve_fire_build.building.field_triggers import find_field_triggers
from torchserve_fire_build.common.errors import CalibrationError, NoTriggerError


def test_triggers_of_the_named_class_lead_there():
    net, rows = Net(backdoored=True).eval(), rows_of(100)
    found = find_field_triggers(net, rows, target=None, seed=0)
    assert found.target == 0
    inputs = rows.load(range(100))
    for trigger in found.triggers:
        assert (net(trigger.stamp(inputs)).argmax(1) == 0).float().mean() > 0.7


def test_benign_model_has_no_trigger():
    net = Net(backdoored=False).eval()
    with pytest.raises(NoTriggerError, match=r"rows.csv: no class stands out"):
        find_field_triggers(net, rows_of(100), target=None, seed=0)
    with pytest.raises(CalibrationError, match="no 6 fields lead 50%"):
        find_field_triggers(net, rows_of(100), target=1, seed=0)
