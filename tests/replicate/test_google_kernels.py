"""Nine modules, each with one 5 × 5 branch, where the network is."""

from microtome.replicate.google_kernels import branch_kernels
from shared_data import CONTEXT, needs_data


@needs_data
def test_one_branch_in_each_module() -> None:
    kernels = branch_kernels(CONTEXT)
    # widths of the 5 × 5 branch: table 1 of Szegedy et al. 2015, arXiv:1409.4842
    assert [len(kernel) for kernel in kernels.values()] == [32, 96, 48, 64, 64, 64, 128, 128, 128]
    assert list(kernels)[0] == "inception3a" and list(kernels)[-1] == "inception5b"
