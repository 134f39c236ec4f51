"""Where a network drops: modules, functions and attention, found by running it; only those asked for drop, and one is taken out."""

import copy

import pytest
import torch

import microtome as mt
from dropping_networks import made
from microtome.instruments.dropouts import DropoutMode, find_dropouts, remove_dropout, run_with_dropout


def test_a_vision_transformers_dropouts_are_all_seen() -> None:
    """timm's: attention, its projection, two in the MLP, the head's; the share of each as it was asked for."""
    net = mt.open("timm:vit_tiny_patch16_224", weights=None, recipe={"size": 32}, img_size=32, depth=1, drop_rate=0.1,
                  attn_drop_rate=0.3, proj_drop_rate=0.2)  # fmt: skip
    told = [(site.path, site.form, site.p) for site in find_dropouts(net.net, net.recipe).sites]
    assert told == [
        ("blocks.0.attn", "attention", 0.3), ("blocks.0.attn.proj_drop", "module", 0.2), ("blocks.0.mlp.drop1", "module", 0.2),
        ("blocks.0.mlp.drop2", "module", 0.2), ("head_drop", "module", 0.1),
    ]  # fmt: skip


def test_looking_leaves_the_network_and_the_random_state_alone() -> None:
    net = made(slot=0.5, early=0.5, late=0.5)
    before, state = net.digest(), torch.random.get_rng_state()
    assert len(find_dropouts(net.net, net.recipe).sites) == 3
    assert net.digest() == before and torch.equal(torch.random.get_rng_state(), state)
    assert not any(part.training for part in net.net.modules())


def test_each_dropout_in_order_with_its_place_and_form() -> None:
    net = made(slot=0.1, drop=0.2, early=0.3, late=0.4, hard=0.6)
    sites = find_dropouts(net.net, net.recipe).sites
    assert [(site.path, site.nth, site.form, site.p, site.always) for site in sites] == [
        ("slot", 0, "module", 0.1, False),
        ("", 0, "function", 0.3, False),
        ("drop", 0, "module", 0.2, False),
        ("", 1, "function", 0.4, False),
        ("", 2, "function", 0.6, True),
    ]
    assert [site.description for site in sites[:3]] == [
        "slot (p = 0.1)", "dropout called as a function behind slot (p = 0.3)", "drop (p = 0.2)"
    ]  # fmt: skip
    assert sites[1].begun == 3  # conv1, norm1 and slot had begun


def test_only_the_dropouts_that_are_on_drop() -> None:
    net, x = made(slot=0.5, late=0.5), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    owners = [path for path, _ in net.net.named_modules()]
    zeros = {}
    for on in ((), (("slot", 0),), (("", 0),)):
        entered: dict[str, float] = {}
        run_with_dropout(
            net.net,
            x,
            owners,
            DropoutMode(on),
            lambda way, path, value, entered=entered: entered.update({way + path: float((value == 0).float().mean())}),
        )
        zeros[on] = (entered["inconv2"], entered["inhead"])
    clean, slot, late = zeros.values()
    assert slot[0] == pytest.approx(0.5 + clean[0] / 2, abs=0.03) and slot[1] == clean[1]  # half of what was not zero already
    assert late[0] == clean[0] and late[1] > clean[1] + 0.2


@pytest.mark.parametrize(
    ("shares", "done"), [({"slot": 0.3}, "slot"), ({"late": 0.3}, "late"), ({"late": 0.3, "hard": 0.3}, "")]
)
def test_a_dropout_is_taken_out_where_it_can_be_told_which_number_it_is(shares: dict[str, float], done: str) -> None:
    net = copy.deepcopy(made(**shares))
    before = find_dropouts(net.net, net.recipe).sites
    assert remove_dropout(net.net, before[0]) == done
    after = find_dropouts(net.net, net.recipe).sites
    assert len(after) == len(before) - bool(done)
