"""A human head generated from formulas: free of any licence, written in the same files as FLAME."""

from nha.head.procedural.generate import HeadFiles, generate_head
from nha.head.procedural.write import write_head_folder

__all__ = ["HeadFiles", "generate_head", "write_head_folder"]
