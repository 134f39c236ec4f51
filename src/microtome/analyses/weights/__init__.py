"""Weights layer by layer: scales, spectra, and what is broken."""

from microtome.analyses.weights.weights import Weights as Weights
