"""How far features move when the image is shifted, scaled, rotated or flipped."""

from microtome.analyses.invariance.invariance import Invariance as Invariance
