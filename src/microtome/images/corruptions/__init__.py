"""The 19 common corruptions in five severities, and sweeps of contrast, brightness, colour scale and size: seeded, batched, any size.

Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, whose severities these are. The images are not those of ImageNet-C, nor are the
results: docs/corruptions.md lists and measures the differences.
"""

from microtome.images.corruptions.corrupting import CORRUPTIONS as CORRUPTIONS
from microtome.images.corruptions.corrupting import SEVERITIES as SEVERITIES
from microtome.images.corruptions.corrupting import corrupt as corrupt
