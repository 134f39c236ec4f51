"""Channels and attention heads removed: which (chosen with Torch-Pruning), and the removal itself (without it)."""
