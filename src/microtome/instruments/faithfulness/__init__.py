"""How far a map can be trusted: what the class probability does as pixels go by its order, and whether it depends on the network."""
