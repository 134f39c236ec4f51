"""Weights by layer: distributions, spectra, and problems."""

from microtome.analyses.weights.weights import Weights as Weights
