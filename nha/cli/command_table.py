"""The table of commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nha.cli import commands


@dataclass(frozen=True)
class Command:
    """A command: its function, its line in `nha --help`, and the examples in its own --help.

    default_config: the configuration that `nha COMMAND` uses without --config; the published scripts use none.
    """

    function: Callable[[commands.Call], None]
    summary: str
    examples: str
    default_config: str | None = None


def _examples(*lines: str) -> str:
    return "\n".join(["examples:", *(f"  {line}" for line in lines)])


COMMANDS = {
    "make": Command(
        commands.make,
        "video -> avatar: all steps, with a verdict at the end",
        _examples(
            "nha make talk.mp4",
            "nha make talk.mp4 --quality draft --out out/talk",
            "nha make talk.mp4 --every 10 --head procedural",
        ),
    ),
    "demo": Command(
        commands.demo,
        "run the whole pipeline on two synthetic people",
        _examples("nha demo", "nha demo --quick --frames 8 --size 64 --out out/demo"),
    ),
    "preprocess": Command(
        commands.preprocess,
        "video -> dataset folder with annotations",
        _examples(
            "nha preprocess --video me.mp4 --out me/dataset",
            "nha preprocess --video me.mp4 --out me/dataset --scale 256 --crop_to_head",
        ),
    ),
    "track": Command(
        commands.track,
        "dataset -> head parameters and camera of every frame",
        _examples(
            "nha track --dataset me/dataset --out me/tracking",
            "nha track --config tracking --dataset me/dataset --out me/tracking --mode sequential",
        ),
    ),
    "train": Command(
        commands.train,
        "dataset and tracking -> avatar",
        _examples(
            "nha train --dataset me/dataset --tracking me/tracking --out me/avatar",
            "nha train --config optimize_avatar --dataset me/dataset --tracking me/tracking --out me/published",
        ),
        default_config="blend",
    ),
    "evaluate": Command(
        commands.evaluate,
        "scores, videos and a report of one or several avatars",
        _examples(
            "nha evaluate --avatar me/avatar/avatar.ckpt --dataset me/dataset --tracking me/tracking",
            "nha evaluate --avatar a.ckpt b.ckpt --dataset me/dataset --tracking me/tracking --out compared",
        ),
    ),
    "compare": Command(
        commands.compare,
        "two avatars side by side on the same held-out frames",
        _examples(
            "nha compare me/avatar me_longer/avatar",
            "nha compare a.ckpt b.ckpt --dataset me/dataset --tracking me/tracking --out compared",
        ),
    ),
    "reenact": Command(
        commands.reenact,
        "animate an avatar with another person's motion",
        _examples(
            "nha reenact --avatar me/avatar/avatar.ckpt --tracking me/tracking \\",
            "    --driving_tracking_results friend/tracking --out me/reenactment",
            "nha reenact --avatar me/avatar/avatar.ckpt --tracking me/tracking \\",
            "    --driving_video friend.mp4 --out me/reenactment",
        ),
    ),
    "view": Command(
        commands.view,
        "interactive viewer in the browser",
        _examples("nha view --avatar me/avatar/avatar.ckpt --tracking me/tracking"),
    ),
    "export": Command(
        commands.export,
        "avatar -> OBJ, PLY, GLB and head parameters",
        _examples(
            "nha export --avatar me/avatar/avatar.ckpt --tracking me/tracking --out me/export",
            "nha export --avatar me/avatar/avatar.ckpt --formats glb --out me/export",
        ),
    ),
    "check dataset": Command(
        commands.check_dataset,
        "check a dataset folder",
        _examples("nha check dataset me/dataset --tracking me/tracking --report me/check.html"),
    ),
    "check weights": Command(
        commands.check_weights,
        "list optional weight files and whether they load",
        _examples("nha check weights", "nha check weights --require arcface"),
    ),
    "head make": Command(
        commands.make_head,
        "generate the procedural head model",
        _examples("nha head make --out my_head --preview my_head.png"),
    ),
    "head inspect": Command(
        commands.inspect_head,
        "describe and draw a head model",
        _examples("nha head inspect procedural", "nha head inspect assets/flame --out flame.png"),
    ),
    "synthetic": Command(
        commands.synthetic,
        "video of a synthetic person with known annotations",
        _examples("nha synthetic --out person --seed 3 --frames 100 --size 256"),
    ),
    "import-tracking": Command(
        commands.import_tracking,
        "tracking of VHAP and others -> tracking file",
        _examples(
            "nha import-tracking tracked_flame_params_30.npz --dataset me/dataset --out me/vhap --head flame",
            "nha import-tracking checkpoint --dataset me/dataset --out me/metrical",
        ),
    ),
    "export-tracking": Command(
        commands.export_tracking,
        "tracking file -> VHAP, GaussianAvatars, FLAME, ARKit",
        _examples(
            "nha export-tracking me/tracking --to vhap --out me/vhap",
            "nha export-tracking me/tracking --to gaussianavatars --dataset me/dataset --out me/gaussian_avatars",
        ),
    ),
    "convert": Command(
        commands.convert,
        "convert checkpoints to and from the published layout",
        _examples("nha convert me/avatar/avatar.ckpt published.ckpt --to published --head assets/flame"),
    ),
}
