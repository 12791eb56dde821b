import pytest

from nha.core.errors import UserError
from nha.core.names import distinct_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["me/avatar/avatar.ckpt"], ["avatar"]),
        (["me/avatar/avatar.ckpt", "you/avatar/avatar.ckpt"], ["me", "you"]),
        (["me/a/last.ckpt", "me/b/avatar.ckpt"], ["last", "avatar"]),
        (["a/x/it.npz", "a/y/it.npz", "b/x/it.npz"], ["a_x", "a_y", "b_x"]),
        (["me/last.ckpt", "me/avatar.ckpt"], ["last", "avatar"]),
        (["one person/x.npz", "two/x.npz"], ["one_person", "two"]),
    ],
)
def test_names_are_the_parts_that_differ(paths, names, tmp_path):
    assert distinct_names([tmp_path / path for path in paths], "--ckpt") == names


def test_the_same_path_twice_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"--ckpt '.*a.ckpt' is named twice"):
        distinct_names([tmp_path / "a.ckpt", tmp_path / "a.ckpt"], "--ckpt")
