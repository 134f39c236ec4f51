"""What covering each place of an image costs the class score."""

from microtome.analyses.occlusion.occlusion import Occlusion as Occlusion
