"""Films of what someone has done: states and viewpoints by the clock, drawn afterwards at an even frame rate."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nha.core.errors import UserError
from nha.data.video_io import VideoWriter
from nha.viewer.stage import Look, Stage, State
from nha.viewer.viewpoint import Viewpoint


@dataclass(frozen=True)
class Moment:
    """What is to be seen: the state of the head, from where, and how it is drawn."""

    state: State
    viewpoint: Viewpoint
    look: Look = "avatar"


@dataclass
class Recording:
    """Moments with their times in seconds of one clock, ascending; each holds until the next."""

    times_s: list[float] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def add(self, time_s: float, moment: Moment) -> None:
        """Note that `moment` is to be seen from now on. One that is already seen changes nothing."""
        if not self.moments or self.moments[-1] != moment:
            self.times_s.append(time_s)
            self.moments.append(moment)

    def frames(self, end_s: float, frame_rate: float) -> Iterator[Moment]:
        """The moments at an even rate from the first one to `end_s`; at least one. Raises UserError for nothing."""
        if not self.moments:
            raise UserError("nothing was recorded")
        start = self.times_s[0]
        for i in range(max(1, round((end_s - start) * frame_rate))):
            row = bisect.bisect_right(self.times_s, start + i / frame_rate) - 1
            yield self.moments[row]


def write_film(
    path: Path,
    stage: Stage,
    moments: list[Moment],
    image_size: tuple[int, int],
    frame_rate: float,
    progress: Callable[[float], None] = lambda share: None,
) -> Path:
    """Draw one picture for each moment into an mp4, which appears when all are drawn.

    image_size: (height, width); progress: told the share that is done, 0..1. Returns the path.
    """
    with VideoWriter(path, frame_rate) as video:
        picture, before = None, None
        for i, moment in enumerate(moments):
            if moment != before:  # what stands still is drawn once
                picture = stage.picture(moment.state, moment.viewpoint, image_size, moment.look)
                before = moment
            video.write(picture)
            progress((i + 1) / len(moments))
    return path
