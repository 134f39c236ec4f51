"""Speed against named peers: `python -m benchmarks`. Ratios measured in one run, never asserted on; see docs/benchmarks.md.

One thread everywhere, set before anything that starts threads is imported: on shared cores, threads that spin while they wait
measure the neighbours (docs/decisions/0001-torch.md).
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
