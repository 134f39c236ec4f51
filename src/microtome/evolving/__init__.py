"""One network over a training: what its checkpoints amount to, and what its units answer to at each."""
