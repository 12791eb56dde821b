import pytest

from nha.core.schedules import geometric_between, linear_between

POINTS = [[0.1, 50], [0.01, 100]]


@pytest.mark.parametrize(
    ("epoch", "value"), [(0, 0.1), (50, 0.1), (60, 0.082), (75, 0.055), (100, 0.01), (240, 0.01)]
)
def test_linear_between_fix_points(epoch, value):
    assert linear_between(POINTS, epoch) == pytest.approx(value)


@pytest.mark.parametrize(("epoch", "value"), [(0, 0.1), (75, 0.1 * 0.1**0.5), (100, 0.01), (240, 0.01)])
def test_geometric_between_fix_points(epoch, value):
    assert geometric_between(POINTS, epoch) == pytest.approx(value)


def test_equal_values_stay_and_zero_does_not_divide():
    assert geometric_between([[0.05, 50], [0.05, 100]], 60) == 0.05
    assert geometric_between([[0.0, 50], [0.0, 100]], 60) == 0.0


def test_points_may_come_in_any_order_and_number():
    assert linear_between([[3, 20], [1, 0], [2, 10]], 15) == pytest.approx(2.5)
    assert linear_between([[7, 5]], 0) == 7
