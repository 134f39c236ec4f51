"""The engine under every method that perturbs: scores of images in which boxes of pixels were replaced."""
