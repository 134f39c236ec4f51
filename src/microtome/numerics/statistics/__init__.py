"""Intervals, distances, ranks and choices."""
