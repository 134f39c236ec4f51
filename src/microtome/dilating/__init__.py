"""Dilated convolutions: how each reads its map, which are parallel branches, the rates that fit, and the star of what they answer to.

found = dilated(specimen)
groups = pyramids(specimen, found)  # branches that read the same map side by side: atrous spatial pyramid pooling and its like
suggested(found, groups)  # layer -> rate
star(groups[0]), answered(specimen, groups[0], x)
"""

from microtome.dilating.branches import Pyramid, pyramids, suggested
from microtome.dilating.convolutions import Dilated, dilated, is_dilated, resized
from microtome.dilating.star import answered, star

__all__ = ["Dilated", "Pyramid", "answered", "dilated", "is_dilated", "pyramids", "resized", "star", "suggested"]
