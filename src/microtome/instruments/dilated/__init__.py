"""Dilated convolutions: how each covers its map, which run in parallel, and the dilation rates that fit."""
