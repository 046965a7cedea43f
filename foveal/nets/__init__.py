"""Networks: each a file, each returning one feature map per stage."""

from foveal.nets._registry import NETS, SCRATCH, Entry, find, pretrained

__all__ = ["NETS", "SCRATCH", "Entry", "find", "pretrained"]
