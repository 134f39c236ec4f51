"""Weight banding: horizontal or vertical stripes in the spatial weights of a layer."""

from microtome.analyses.banding.banding import Banding as Banding
