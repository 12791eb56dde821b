"""Command lines without settings: what they accept, and the one line that they answer to a mistake."""

from pathlib import Path

import pytest

from nha.core.command_line import OptionParser
from nha.core.errors import UserError


@pytest.fixture
def parser() -> OptionParser:
    parser = OptionParser(description="d")
    parser.add_argument("input", type=Path)
    parser.add_argument("--to", choices=("published", "nha"), required=True)
    parser.add_argument("--frames", type=int, default=4)
    return parser


def test_right_ones_are_read(parser):
    arguments = parser.parse_args(["in.ckpt", "--to", "nha", "--frames=-2"])
    assert (arguments.input, arguments.to, arguments.frames) == (Path("in.ckpt"), "nha", -2)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["x", "--too", "nha"], "unknown setting 'too' on the command line; did you mean 'to'?"),
        (["x", "--to", "nha", "--frame=3"], "did you mean 'frames'"),
        (["x", "--to", "nha", "--zzz"], "see --help"),
        (["x", "--to", "ours"], "invalid choice: 'ours'"),
        (["x", "--to", "nha", "--frames", "many"], "argument --frames: invalid int value: 'many'"),
        (["--to", "nha"], "required: input"),
        (["x", "y", "--to", "nha"], "unrecognized arguments: y"),
    ],
)
def test_wrong_ones_are_one_line(parser, argv, message):
    with pytest.raises(UserError) as caught:
        parser.parse_args(argv)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
