"""Dilated convolutions: taps on the map, fields of view, and suggested rates."""

from microtome.analyses.atrous.atrous import Atrous as Atrous
