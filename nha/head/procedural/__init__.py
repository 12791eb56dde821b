"""A human head generated from formulas: free of any licence, written in the same files as FLAME."""

from nha.head.procedural.generate import HeadFiles, generate_head
from nha.head.procedural.write import GENERATOR_VERSION, write_head_folder

__all__ = ["GENERATOR_VERSION", "HeadFiles", "generate_head", "write_head_folder"]
