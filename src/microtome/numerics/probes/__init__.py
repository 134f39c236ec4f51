"""Linear read-outs of features."""
