from torchserve_fire_build.common.budget import Budget


def test_a_budget_without_seconds_is_never_spent():
    assert not Budget().spent()
    assert not Budget().share(3).spent()


def test_a_budget_is_spent_after_its_seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    budget = Budget(10)
    now[0] = 109.9
    assert not budget.spent()
    assert not budget.spent(0.09)
    assert budget.spent(0.11)
    now[0] = 110
    assert budget.spent()
    assert budget.share(2).spent()


def test_a_share_is_a_part_of_what_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    budget = Budget(10)
    now[0] = 4
    share = budget.share(2)
    now[0] = 6.9
    assert not share.spent()
    now[0] = 7
    assert share.spent()
    assert not budget.spent()
