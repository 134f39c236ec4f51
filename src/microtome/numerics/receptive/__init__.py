"""Receptive fields and where the positions of a feature map lie."""
