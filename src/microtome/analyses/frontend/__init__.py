"""The filters of the first convolution, their spectra and their faults."""

from microtome.analyses.frontend.frontend import Frontend as Frontend
