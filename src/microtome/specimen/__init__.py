"""Opened networks: names, layers, blocks, input recipes, and looking without touching."""

from microtome.specimen.blocks import Block
from microtome.specimen.layers import Layer
from microtome.specimen.outputs import first_tensor
from microtome.specimen.recipe import Recipe
from microtome.specimen.sameness import same_values
from microtome.specimen.specimen import Specimen
from microtome.specimen.watching import Taps, replace_values, tap, watch

__all__ = ["Block", "Layer", "Recipe", "Specimen", "Taps", "first_tensor", "replace_values", "same_values", "tap", "watch"]
