"""What removing each block, and ending the network at each place, costs and saves."""

from microtome.analyses.slimming.slimming import Slimming as Slimming
