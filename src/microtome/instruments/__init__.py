"""Measuring tools that several analyses share; each knows a Specimen."""
