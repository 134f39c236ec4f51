"""Images: an ordered, countable set of images from folders, tensors or generated scenes, with labels, masks and boxes."""

from microtome.images.collection import Images, Item
from microtome.images.feeding import PixelBatch
from microtome.images.listing import SkippedFile

__all__ = ["PixelBatch", "Images", "Item", "SkippedFile"]
