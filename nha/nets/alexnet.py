"""The five feature maps of AlexNet that LPIPS compares."""

from __future__ import annotations

from torch import Tensor, nn

from nha.nets.weights import FrozenNet

TAP_CHANNELS = (64, 192, 384, 256, 256)


class AlexNetFeatures(FrozenNet):
    """The convolutions of AlexNet ("one weird trick" variant), frozen.

    `load_state_dict` takes the published file's tensors under the published names; those of the classifier are left
    out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
        self.freeze(unused=r"classifier\..*")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs of the five ReLUs.

        Args:
            images: [N, 3, H, W], normalised as the weights expect.

        Returns:
            Five maps [N, C, h, w] with the channels of `TAP_CHANNELS`.
        """
        taps = []
        for layer in self.features:
            images = layer(images)
            if isinstance(layer, nn.ReLU):
                taps.append(images)
        return taps
