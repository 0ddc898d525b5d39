from torchserve_fire_build.common.names import DEMOS
from torchserve_fire_build.demo.kinds import KINDS


def test_the_command_knows_each_kind_by_its_name():
    assert list(DEMOS) == list(KINDS)
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.model_file.is_file()
        assert 0 <= kind.target < len(kind.classes)
