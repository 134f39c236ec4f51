"""The tensors in whatever a module returns."""

from types import SimpleNamespace

import torch

from microtome.specimen.outputs import first_tensor, output_tensors

A, B = torch.zeros(1), torch.ones(1)


def test_the_first_tensor_of_every_kind_of_output() -> None:
    for value in (A, [None, A, B], ("text", [A]), {"x": A, "y": B}, {"x": B, "logits": A}, SimpleNamespace(logits=A)):
        assert first_tensor(value) is A
    for value in (None, "text", [], {"x": None}, SimpleNamespace(logits=None)):
        assert first_tensor(value) is None


def test_one_tensor_for_each_element_of_a_list_and_one_for_a_dictionary() -> None:
    assert [int(one) for one in output_tensors((A, None, [B, A]))] == [0, 1]
    assert len(output_tensors({"x": A, "y": B})) == len(output_tensors(A)) == 1
    assert output_tensors("text") == []
