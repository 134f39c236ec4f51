"""Images: an ordered, countable set of pictures from folders, tensors or generated scenes, with labels, masks and boxes."""

from microtome.images.collection import Images, Item
from microtome.images.feeding import Batch
from microtome.images.listing import Skipped

__all__ = ["Batch", "Images", "Item", "Skipped"]
