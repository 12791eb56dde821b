import pytest

from nha.core.errors import UserError
from nha.data.splits import (
    Split,
    check_split,
    default_split,
    distance_to,
    read_split,
    spread_split,
    write_split,
)


def test_round_trip(spaced_dir):
    split = Split(train=(3, 1, 2), val=(7,))
    write_split(spaced_dir / "split.json", split)
    assert read_split(spaced_dir / "split.json") == split
    assert split.frame_ids() == [1, 2, 3, 7]


def test_our_configuration_names_the_published_frames(repository):
    split = read_split(repository / "configs" / "split.json")
    assert split == Split(train=tuple(range(750)), val=tuple(range(750, 1496)))


def test_default_split_holds_out_the_end():
    assert default_split([9, 1, 3, 5, 7, 11, 13, 15]) == Split(train=(1, 3, 5, 7, 9, 11), val=(13, 15))
    assert default_split([4, 2]) == Split(train=(2,), val=(4,))
    assert default_split([4]) == Split(train=(4,), val=())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "must read"),
        ('{"train": [1]}', "must read"),
        ('{"train": [1, "2"], "val": []}', "must read"),
        ('{"train": [1, true], "val": []}', "must read"),
        ('{"train": [], "val": [1]}', "no training frames"),
    ],
)
def test_bad_splits_are_user_errors(tmp_path, text, message):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_split(tmp_path / "split.json")
    with pytest.raises(UserError, match="No such file"):
        read_split(tmp_path / "none.json")


def test_missing_frames_are_listed():
    check_split(Split(train=(1, 2), val=(5,)), [1, 2, 3, 5], "DATA")
    with pytest.raises(UserError, match="'DATA' does not have: 2, 9; the dataset has 2 frames, 1 to 5"):
        check_split(Split(train=(1, 2), val=(9, 5)), [1, 5], "DATA")
    with pytest.raises(UserError, match=r"19 and 80 more; "):
        check_split(Split(train=tuple(range(100)), val=()), [500], "DATA")


@pytest.mark.parametrize(("n", "gap"), [(1500, 10), (300, 5), (60, 10), (25, 10), (10, 3), (3, 10)])
def test_a_spread_split_keeps_neighbours_apart(n, gap):
    ids = [3 + i + 7 * (i > n // 3) for i in range(n)]
    split = spread_split(ids, 0.2, gap)
    assert set(split.frame_ids()) <= set(ids)
    assert not set(split.train) & set(split.val)
    assert len(split.val) == max(1, round(0.2 * n))
    assert len(split.train) >= (n - len(split.val)) / 2
    assert split.val[-1] == ids[-1]
    nearest = min(distance_to(frame_id, split.val) for frame_id in split.train)
    assert nearest > (gap if n >= 60 else 0)


def test_a_spread_split_looks_into_every_third_of_a_long_video():
    split = spread_split(range(900), 0.2, 10)
    thirds = [sum(300 * k <= frame_id < 300 * (k + 1) for frame_id in split.val) for k in range(3)]
    assert thirds == [60, 60, 60]
    assert len(split.train) == 900 - 180 - 5 * 10  # a gap on each side of a block, but for the video's end


def test_a_spread_split_of_next_to_nothing():
    assert spread_split([4]) == Split(train=(4,), val=())
    assert spread_split([2, 4]) == Split(train=(2,), val=(4,))


def test_distance_to_the_nearest():
    assert distance_to(5, [1, 4, 9]) == 1
    assert distance_to(0, [1, 4, 9]) == 1
    assert distance_to(12, [1, 4, 9]) == 3
    assert distance_to(4, [1, 4, 9]) == 0
    assert distance_to(4, []) == float("inf")
