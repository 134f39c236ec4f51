"""One file for each claim: its protocol, fixed before the run, and what measures it."""
