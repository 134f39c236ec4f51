"""Accuracy and localisation by the size of the object and the clutter around it."""

from microtome.analyses.objects.objects import Objects as Objects
