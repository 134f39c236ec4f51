"""Arrays (row, col, band) of every kind of number, drawn at random."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

SMALL = settings(max_examples=25, deadline=None)
KINDS = st.sampled_from([np.uint8, np.uint16, np.int16, np.float32, np.float64])
NUMBERS = KINDS.flatmap(
    lambda kind: st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 7)).flatmap(
        lambda shape: arrays(
            kind,
            shape,
            elements=st.integers(0, 255) if np.dtype(kind).kind in "ui" else st.floats(-1e3, 1e3, width=32, allow_nan=False),
        )
    )
)
