"""What occluding each part of an image costs the class score."""

from microtome.analyses.occlusion.occlusion import Occlusion as Occlusion
