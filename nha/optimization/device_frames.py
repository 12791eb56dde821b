"""Frames of a dataset in the memory of an accelerator as uint8; batches are gathered and converted there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.types import FrameBatch, map_tensors
from nha.data.frame_dataset import FrameDataset, decode_normal_planes
from nha.data.frame_store import FrameImages

LARGEST_SHARE = 0.4  # of the device's free memory
BYTES_PER_PIXEL = 8  # of colours, normals and two labels
_CHUNK = 16  # frames that are copied to the device at a time


class DeviceFrames:
    """The frames of a dataset on a device; batches equal those of the dataset.

    Args:
        frames: the dataset.
        device: where the frames are kept.
    """

    def __init__(self, frames: FrameDataset, device: torch.device) -> None:
        self.frame_ids, self.image_size = frames.frame_ids, frames.image_size
        self._device = device
        chunks = [range(start, min(start + _CHUNK, len(frames))) for start in range(0, len(frames), _CHUNK)]
        images = [frames.images(chunk) for chunk in chunks]
        names = FrameImages.__dataclass_fields__
        self._images = {
            name: torch.cat([torch.from_numpy(getattr(part, name)).to(device) for part in images])
            for name in names
        }
        annotations = [frames.annotations(chunk, part) for chunk, part in zip(chunks, images, strict=True)]
        self._annotations = {
            name: torch.cat([part[name] for part in annotations]).to(device) for name in annotations[0]
        }
        everything = range(len(frames))
        self._tracked = frames.tracked(everything).to(device)
        self._camera = frames.camera(everything).to(device)

    def __len__(self) -> int:
        return len(self.frame_ids)

    def __getitems__(self, indices: Sequence[int]) -> FrameBatch:
        return self.batch(indices)

    def batch(self, indices: Sequence[int]) -> FrameBatch:
        """The frames at N positions of `frame_ids`, on the device."""
        rows = torch.tensor(list(indices)).to(self._device, non_blocking=True)

        def taken(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, rows)

        rgb = taken(self._images["rgb"]).float()
        return FrameBatch(
            rgb01=rgb
            / constant((255.0,), rgb),  # by a tensor: the division by a number is rounded otherwise on CUDA
            segmentation=taken(self._images["segmentation"]).long(),
            parsing=taken(self._images["parsing"]).long(),
            normals=decode_normal_planes(taken(self._images["normals"])),
            tracked=map_tensors(self._tracked, taken),
            camera=map_tensors(self._camera, taken),
            **{name: taken(values) for name, values in self._annotations.items()},
        )


def fits(frames: FrameDataset, device: torch.device) -> bool:
    """Whether the frames are to be kept in the memory of a device: only on CUDA, and only where there is room."""
    if device.type != "cuda" or not len(frames):
        return False
    height, width = frames.image_size
    needed = BYTES_PER_PIXEL * height * width * len(frames)
    return needed < LARGEST_SHARE * torch.cuda.mem_get_info(device)[0]
