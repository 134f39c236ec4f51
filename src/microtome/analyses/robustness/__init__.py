"""What corruption of the images does to answers and features."""

from microtome.analyses.robustness.robustness import Robustness as Robustness
