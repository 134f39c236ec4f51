"""Many networks side by side, and the one to choose."""

from microtome.analyses.compare.compare import Compare as Compare
