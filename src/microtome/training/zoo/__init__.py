"""The mini zoo: the loop that made the networks shipped here, and the recipes it was given."""
