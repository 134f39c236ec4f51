"""Experiments: a baseline against variants over seeds, trained, analysed, compared with intervals, on one page."""
