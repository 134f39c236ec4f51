"""Networks of one output that answers yes or no: its two classes as two scores, whose softmax is the sigmoid of the output.

Class 1 is answered where the output is above 0 (a probability above 50%), class 0 elsewhere. The scores are half the output and its
negative, so that the gradients for both classes are equally strong.
"""

import torch
from torch import Tensor

SIDES = ("not above 0", "above 0")  # names of the classes where nobody named them
PASSED = ("View", "Squeeze", "Unsqueeze", "Reshape", "Select", "Slice", "Permute", "Transpose", "TBackward", "Clone", "Alias")


def two_scores(output: Tensor, is_probability: bool) -> Tensor:
    """The scores (image, 2) of one output (image, 1): of a logit, or of a probability that a sigmoid gave."""
    logit = output
    if is_probability:
        logit = torch.logit(output, eps=torch.finfo(output.dtype).eps)
    return torch.cat([-logit / 2, logit / 2], dim=1)


def is_sigmoid(output: Tensor) -> bool:
    """Whether an output with its graph comes from a sigmoid, with nothing but changes of shape after it."""
    node = output.grad_fn
    while node is not None and any(word in node.name() for word in PASSED) and node.next_functions:
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith("Sigmoid")
