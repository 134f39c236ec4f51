"""Similarity between the layers of two networks."""

from microtome.analyses.cross_similarity.cross_similarity import CrossSimilarity as CrossSimilarity
