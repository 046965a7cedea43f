"""Networks: each a file, each returning one feature map per stage."""

from foveal.nets._registry import NETS, Entry, find, pretrained

__all__ = ["NETS", "Entry", "find", "pretrained"]
