"""Maps of what covering each place of a picture costs: measured, laid out as arrays, and told in words."""

from microtome.occluding import wording
from microtome.occluding.arrays import COLOURS, settled
from microtome.occluding.maps import Maps, Places, joined, looked

__all__ = ["COLOURS", "Maps", "Places", "joined", "looked", "settled", "wording"]
