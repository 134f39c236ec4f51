"""An analysis for microtome in a package of its own."""
