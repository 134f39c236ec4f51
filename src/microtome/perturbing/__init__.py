"""The engine under every method that perturbs: what a network says of pictures in which a box of pixels was replaced."""

from microtome.perturbing.patches import Patch, Response, filled, pasted
from microtome.perturbing.perturber import Perturber

__all__ = ["Patch", "Perturber", "Response", "filled", "pasted"]
