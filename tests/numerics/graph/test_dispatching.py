"""Operations are seen as they run, the fused attention path comes back, and nested tensors are found in order."""

from typing import Any

import pytest
import torch
from torch import nn

from microtome.numerics.graph.dispatching import Dispatching, slow_attention, tensors_in


def test_tensors_in_any_nesting_in_order() -> None:
    a, b, c = (torch.full((1,), value) for value in (1.0, 2.0, 3.0))
    found = list(tensors_in([a, {"x": (b, "text", 4), "y": None}, [[c]]]))
    assert [int(tensor) for tensor in found] == [1, 2, 3]
    assert list(tensors_in("text")) == []


def test_every_operation_inside_passes_the_mode_and_none_outside() -> None:
    class Names(Dispatching):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Names() as mode:
        torch.ones(2).add(1).relu()
    torch.ones(2).exp()
    assert mode.names == ["ones", "add", "relu"]


def test_an_encoder_layer_calls_its_modules_only_while_attention_is_slow() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    calls: list[int] = []
    layer.linear1.register_forward_pre_hook(lambda *_: calls.append(1))
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    before = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        with slow_attention():
            slow = layer(x)
        assert calls == [1]
        assert torch.allclose(layer(x), slow, atol=1e-5)

    def fail() -> None:
        with slow_attention():
            assert not torch.backends.mha.get_fastpath_enabled()
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert torch.backends.mha.get_fastpath_enabled() == before
