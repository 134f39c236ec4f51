"""Pixels with weaker gradients than their neighbours, and the layers responsible for them."""

from microtome.analyses.dead_pixels.dead_pixels import DeadPixels as DeadPixels
