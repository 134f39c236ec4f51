"""Weight tensors: norms, spectra, filters, banding."""
