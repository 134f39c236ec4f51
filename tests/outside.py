"""A slimmed network loaded in a Python that refuses to import microtome."""

import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

# timm imports torchvision; where its compiled operators do not match torch, their schemas are declared here as microtome's own door does.
CODE = """
import runpy, sys, torch

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "microtome":
            raise ImportError("microtome is refused here")

sys.meta_path.insert(0, Refuse())
try:
    import torchvision
except RuntimeError:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
torch.set_num_threads(1)
net = runpy.run_path(sys.argv[1])["load"]()
with torch.no_grad():
    torch.save(net(torch.load(sys.argv[2])), sys.argv[3])
assert not any(name.split(".")[0] == "microtome" for name in sys.modules)
"""


def outputs_without_microtome(folder: Path, x: Tensor, scratch: Path) -> Tensor:
    """What the loader in `folder` gives for `x` in a process that cannot import microtome."""
    torch.save(x, scratch / "x.pt")
    words = [str(folder / "load.py"), str(scratch / "x.pt"), str(scratch / "y.pt")]
    run = subprocess.run([sys.executable, "-I", "-c", CODE, *words], capture_output=True, text=True, cwd=scratch, check=False)
    assert run.returncode == 0, run.stderr
    return torch.load(scratch / "y.pt")
