"""Positions in transformers: their power among the tokens, the distance of attention, learned biases."""

from microtome.analyses.position.position import Position as Position
