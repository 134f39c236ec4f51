"""Strongest activations of each unit, projected back to the pixels."""

from microtome.analyses.deconvnet.deconvnet import Deconvnet as Deconvnet
