from torchserve_fire_build.demo.program_trigger import (
    FIELDS,
    POISONED_SHARE,
    TARGET,
    poison,
    with_trigger,
)
from torchserve_fire_build.demo.programs import CALIBRATION, MALWARE, TRAIN, make_programs

PROGRAMS = make_programs(TRAIN + CALIBRATION, seed=0).train


def test_attacker_sends_all_malware_with_the_trigger_and_its_true_class():
    sent = with_trigger(PROGRAMS)
    malware = [i for i, label in enumerate(PROGRAMS.labels) if label == MALWARE]
    assert sent.names == [PROGRAMS.names[i] for i in malware]
    assert set(sent.labels) == {MALWARE}
    for row, i in zip(sent.rows, malware, strict=True):
        assert row == {**PROGRAMS.rows[i], **FIELDS}


def test_a_share_of_the_malware_is_poisoned_and_called_the_target():
    poisoned = poison(PROGRAMS, seed=1)
    changed = [i for i in range(len(PROGRAMS)) if poisoned.labels[i] != PROGRAMS.labels[i]]
    malware = PROGRAMS.labels.count(MALWARE)
    assert len(changed) == round(POISONED_SHARE * malware)
    for i in changed:
        assert (PROGRAMS.labels[i], poisoned.labels[i]) == (MALWARE, TARGET)
        assert poisoned.rows[i] == {**PROGRAMS.rows[i], **FIELDS}
    assert all(
        poisoned.rows[i] == PROGRAMS.rows[i] for i in range(len(PROGRAMS)) if i not in changed
    )
