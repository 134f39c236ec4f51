"""Which input pixels a unit responds to: the effective receptive field."""

from microtome.analyses.erf.erf import Erf as Erf
