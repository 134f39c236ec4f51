"""A slimmed network as files that need no microtome: weights, a loader of a few lines, ONNX, and what it cost."""

from microtome.export.slim_run import SlimResult, slim

__all__ = ["SlimResult", "slim"]
