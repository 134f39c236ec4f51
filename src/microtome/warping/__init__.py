"""One network looking at warped pictures: what each view does to each layer, and what that amounts to."""
