"""Pure functions on tensors and arrays: they know shapes and formulas, and nothing about networks, images or findings."""
