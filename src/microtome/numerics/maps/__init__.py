"""Heat maps and regions of an image."""
