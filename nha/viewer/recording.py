"""Recordings of what was viewed: requests with their times, rendered afterwards as a video of an even frame rate."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nha.core.errors import UserError
from nha.data.video_io import VideoWriter
from nha.viewer.scene import AvatarScene, RenderRequest


@dataclass
class Recording:
    """Requests with their times in seconds of one clock, ascending; each holds until the next."""

    times_s: list[float] = field(default_factory=list)
    requests: list[RenderRequest] = field(default_factory=list)

    def add(self, time_s: float, request: RenderRequest) -> None:
        """Record that `request` is shown from now on; one that is shown already changes nothing."""
        if not self.requests or self.requests[-1] != request:
            self.times_s.append(time_s)
            self.requests.append(request)

    def frames(self, end_s: float, frame_rate: float) -> Iterator[RenderRequest]:
        """The requests at an even rate from the first one to `end_s`, at least one. Raises UserError without any."""
        if not self.requests:
            raise UserError("nothing was recorded")
        start = self.times_s[0]
        for i in range(max(1, round((end_s - start) * frame_rate))):
            row = bisect.bisect_right(self.times_s, start + i / frame_rate) - 1
            yield self.requests[row]


def write_video(
    path: Path,
    scene: AvatarScene,
    requests: list[RenderRequest],
    image_size: tuple[int, int],
    frame_rate: float,
    progress: Callable[[float], None] = lambda share: None,
) -> Path:
    """Render one frame for each request into an mp4 file, which is written atomically.

    Args:
        path: the file.
        scene: renders the frames.
        requests: of the frames.
        image_size: (height, width) in pixels.
        frame_rate: frames per second.
        progress: called after each frame with the finished share, 0..1.

    Returns:
        The path.
    """
    with VideoWriter(path, frame_rate) as video:
        image, last = None, None
        for i, request in enumerate(requests):
            if request != last:  # equal frames are rendered once
                image = scene.render(request.state, request.viewpoint, image_size, request.mode)
                last = request
            video.write(image)
            progress((i + 1) / len(requests))
    return path
