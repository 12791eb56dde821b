import pytest

from nha.core.errors import UserError
from nha.data.splits import Split, check_split, default_split, read_split, write_split


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
        ('{"train": [], "val": [1]}', "no frame to train on"),
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
