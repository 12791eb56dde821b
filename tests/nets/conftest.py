"""Published checkpoints, unpacked once for all tests."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from nha.avatar.checkpoint import AvatarCheckpoint, read_checkpoint


@pytest.fixture(scope="session")
def published_checkpoint(golden_dir: Path, tmp_path_factory) -> Callable[[str], AvatarCheckpoint]:
    """published_checkpoint("a") is the avatar beside the reference numbers of case a."""
    folder = tmp_path_factory.mktemp("published")
    opened: dict[str, AvatarCheckpoint] = {}

    def open_case(case: str) -> AvatarCheckpoint:
        if case not in opened:
            path = folder / f"{case}.ckpt"
            path.write_bytes(lzma.decompress((golden_dir / case / "avatar.ckpt.xz").read_bytes()))
            opened[case] = read_checkpoint(path)
        return opened[case]

    return open_case
