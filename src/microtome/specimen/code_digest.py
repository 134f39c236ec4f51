"""What a network would run, as one digest: its code, everything that code uses, hooks, and who can build it again.

Two networks with equal weights and equal digests give equal numbers. The rule is written down in docs/opening.md, under
"When a finding is reused"; where it cannot be known whether something counts, it counts, and the analysis is measured again.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as torch_module

from microtome.specimen.library_code import library_versions, replaced_members
from microtome.specimen.value_digest import ValueDigest

# Where functions of torch are usually replaced; the modules of a network's own library classes are looked at as well.
PATCHED = (torch, F, torch.Tensor, nn.Module, torch_module)
GLOBAL_HOOKS = ("_global_forward_pre_hooks", "_global_forward_hooks", "_global_forward_hooks_always_called")


def code_digest(net: nn.Module, maker: Any = None) -> str:
    """SHA-256 hex digest over the code that runs in `net`, its constants and hooks, its maker, and the libraries' versions.

    Tensors of the state dict are left out: `Specimen.digest` has their values.
    """
    weighed = {id(value): name for name, value in net.state_dict(keep_vars=True).items() if isinstance(value, torch.Tensor)}
    total = ValueDigest(weighed)
    total.write(library_versions())
    total.add(net)
    for owner in PATCHED:
        for name, value in replaced_members(owner):
            total.write("replaced", name)
            total.add(value)
    for name in GLOBAL_HOOKS:
        for hook in getattr(torch_module, name, {}).values():
            total.write(name)
            total.add(hook)
    total.write("maker")
    total.add(maker)
    return total.hexdigest()
