"""AlexNet's five feature maps, as LPIPS looks at them."""

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

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """What each of the five ReLUs gives for [N, 3, H, W]: [N, C, h, w] with C of TAP_CHANNELS."""
        taps = []
        for layer in self.features:
            pictures = layer(pictures)
            if isinstance(layer, nn.ReLU):
                taps.append(pictures)
        return taps
