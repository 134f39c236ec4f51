"""Features over a training, checkpoint by checkpoint."""

from microtome.analyses.evolution.evolution import Evolution as Evolution
