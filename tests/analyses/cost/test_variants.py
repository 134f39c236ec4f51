"""Compiled and bfloat16: timed in columns of their own where they work, refused in one sentence where they do not."""

from pathlib import Path

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.analyses.cost import cost as cost_module
from microtome.analyses.cost import variants
from microtome.analyses.cost.cost import Cost
from microtome.analyses.cost.variants import Variant, compiled_variant, emulates_half, half_variant
from microtome.finding import Finding


def test_bf16_is_the_same_network_with_fewer_digits(net: mt.Specimen) -> None:
    x = net.noise(2)
    variant = half_variant(net, [x])
    assert variant.run is not None
    half, full = variant.run(x), net.run(x)
    assert not torch.equal(half.float(), full)
    torch.testing.assert_close(half.float(), full, rtol=0.1, atol=0.1 * float(full.abs().max()))


def test_columns_and_sentences(net: mt.Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Variant(
        variants.COMPILED, None, "torch.compile did not work here; on a CPU it needs a C++ compiler such as g++ (none)"
    )
    monkeypatch.setattr(cost_module, "compiled_variant", lambda specimen, inputs: broken)
    monkeypatch.setattr(cost_module, "emulates_half", lambda device: True)
    found: Finding = Cost(repeats=6, batch=2, compile=True, bf16=True)(net)
    assert found["ways"].method.values.tolist() == ["float32", "bf16"] and (found["ways"].values > 0).all()
    single = found["ways"].sel(measure=["one image, low", "one image", "one image, high"]).values
    assert (np.diff(single, axis=1) >= 0).all() and found["ways"].sizes["measure"] == 6
    caveats = " ".join(found.caveats)
    assert "Not measured: torch.compile, since torch.compile did not work here; on a CPU it needs a C++ compiler" in caveats
    assert "no instructions for bf16" in caveats
    assert "ways" not in Cost(repeats=3, batch=2)(net)


def test_what_cannot_be_compiled_is_one_sentence(net: mt.Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **keywords: object) -> object:
        def run(x: object) -> object:
            raise RuntimeError("no working C++ compiler found\nmore lines")

        return run

    monkeypatch.setattr(torch, "compile", refuse)
    variant = compiled_variant(net, [net.noise(1)])
    assert variant.run is None and variant.reason.endswith("such as g++ (no working C++ compiler found)")


def test_a_compiled_network_gives_the_same(net: mt.Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the eager backend, which needs no compiler."""
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **keywords: original(module, backend="eager"))
    x = net.noise(1)
    variant = compiled_variant(net, [x])
    assert variant.run is not None
    torch.testing.assert_close(variant.run(x), net.run(x))


def test_bf16_instructions_are_read_from_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = tmp_path / "cpuinfo"
    monkeypatch.setattr(variants, "CPU_FACTS", facts)
    assert not emulates_half("cpu"), "nothing is known"
    facts.write_text("flags: avx2 avx512f\n")
    assert emulates_half("cpu") and not emulates_half("cuda")
    facts.write_text("flags: avx512_bf16 amx_bf16\n")
    assert not emulates_half("cpu")
