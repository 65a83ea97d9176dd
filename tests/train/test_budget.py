import pytest

from effnetv2.errors import InputError
from effnetv2.train.budget import Budget


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("1h30m", 5400), ("1h 30min 5s", 5405),
     ("20M", 1200), (45, 45), (0.5, 0.5)],
)  # fmt: skip
def test_a_budget_is_written_as_people_say_it(wish: str | float, seconds: float) -> None:
    assert Budget.of(wish).seconds == seconds


@pytest.mark.parametrize("wish", ["", "20", "m", "20 x", "20m more", "-5m", "1d", "0s", 0, -1])
def test_anything_else_is_one_line(wish: str | float) -> None:
    with pytest.raises(InputError, match="a budget of") as told:
        Budget.of(wish)
    assert "\n" not in str(told.value)
    assert "20m" in str(told.value)


def test_a_budget_that_has_begun_goes_on() -> None:
    budget = Budget(60.0, began=5.0)
    assert Budget.of(budget) is budget
