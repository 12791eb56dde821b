"""A head model generated from formulas, under this project's own licence and in the same files as FLAME.

Reading order: `sculpt` (the skin as an implicit surface), `patches` (eyelids, lips, ears), `topology` (its mesh),
`template` (skin and eyeballs), `rig` (joints, skinning, pose correctives), `fields` (displacement fields), `identity`,
`expressions`, `regions` (named parts), `landmarks`, `mouth_features`, `unwrap` (UV map), `texture` (albedo space),
`generate` (all tables), `write` (the files).

All modules work in sculpting coordinates, defined in `sculpt`; `template.to_metres` converts to the head model's.
"""

from nha.head.procedural.generate import HeadFiles, generate_head
from nha.head.procedural.write import GENERATOR_VERSION, write_head_folder

__all__ = ["GENERATOR_VERSION", "HeadFiles", "generate_head", "write_head_folder"]
