"""Class activation maps."""

from microtome.analyses.cam.cam import Cam as Cam
