"""Each fault, planted alone in a clean network, is found alone; the clean network has none."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from audited_networks import clean, faults, opened
from microtome.analyses.audit.dropout import check_dropout_before_norm
from microtome.analyses.audit.rule import Subject
from microtome.analyses.audit.run import RULES, RuleOutcome, run_audit
from microtome.errors import UnknownName
from microtome.prose import plural


def planted(change: Callable[[nn.Module], None]) -> nn.Module:
    net = copy.deepcopy(clean())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        change(net)
    return net.eval()


def nan(net: nn.Module) -> None:
    net.conv2.weight[3, 1, 0, 0] = float("nan")
    net.norm3.running_var[2] = float("inf")


def dead(net: nn.Module) -> None:
    net.conv2.weight[[3, 7]] = 0


def constant(net: nn.Module) -> None:
    net.conv3.weight[5] = 0.25


def off(net: nn.Module) -> None:
    net.norm2.weight[:3] = 0


def skipped(net: nn.Module) -> None:
    net.conv2 = nn.Conv2d(8, 16, 1, stride=2, bias=False)


def met(net: nn.Module) -> None:
    net.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=2, dilation=2, bias=False)


def odd(net: nn.Module) -> None:
    net.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)


def rates(net: nn.Module) -> None:
    net.conv3 = nn.Conv2d(16, 16, 3, padding=9, dilation=9, bias=False)


class Parallel(nn.Module):
    """Branches of 3 x 3 at several rates and a 1 x 1, added up: atrous spatial pyramid pooling without its norms."""

    def __init__(self, units: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.point = nn.Conv2d(units, units, 1, bias=False)
        self.branches = nn.ModuleList(nn.Conv2d(units, units, 3, padding=r, dilation=r, bias=False) for r in rates)

    def forward(self, x: Tensor) -> Tensor:
        return self.point(x) + sum(branch(x) for branch in self.branches)


def parallel(*rates: int) -> Callable[[nn.Module], None]:
    def change(net: nn.Module) -> None:
        net.conv1, net.conv2, net.conv3 = nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 16, 1, bias=False), Parallel(16, rates)

    return change


def wide(net: nn.Module) -> None:
    net.conv3 = nn.Conv2d(16, 16, 3, padding=5, dilation=5, bias=False)


def biased(net: nn.Module) -> None:
    net.conv2 = nn.Conv2d(8, 16, 4, stride=2, padding=1)


def grouped(net: nn.Module) -> None:
    net.drop = nn.GroupNorm(8, 16)


def many_groups(net: nn.Module) -> None:
    net.norm3 = nn.GroupNorm(16, 16)


def early(net: nn.Module) -> None:
    net.slot = nn.Dropout(0.5)


def late(net: nn.Module) -> None:
    net.drop = nn.Dropout(0.3)


PLANTS = {
    "MT001": (nan, ("conv2", "norm3"), "error"),
    "MT002": (dead, ("conv2",), "warning"),
    "MT003": (constant, ("conv3",), "warning"),
    "MT004": (off, ("norm2",), "warning"),
    "MT101": (skipped, ("conv2",), "warning"),
    "MT102": (odd, ("conv2",), "note"),
    "MT104": (rates, ("conv3",), "warning"),
    "MT105": (parallel(2, 4), ("conv3.branches.0", "conv3.branches.1"), "note"),
    "MT201": (biased, ("conv2",), "note"),
    "MT203": (grouped, ("drop",), "error"),
    "MT204": (many_groups, ("norm3",), "note"),
    "MT301": (early, ("slot",), "warning"),
    "MT302": (late, ("drop",), "note"),
}


def test_a_clean_network_has_no_finding() -> None:
    assert faults(clean()) == {}


@pytest.mark.parametrize("id", PLANTS)
def test_a_planted_fault_is_found_and_nothing_else(id: str) -> None:
    plant, layers, severity = PLANTS[id]
    net = planted(plant)
    outcomes = run_audit(opened(net))
    found = {one.rule.id: one for one in outcomes if one.fault}
    assert set(found) == {id}
    assert found[id].fault is not None and found[id].fault.layers == layers
    assert found[id].severity == severity
    unchecked = {one.rule.id for one in outcomes if one.unchecked}
    silenced = {"MT001": {"MT301", "MT302", "MT303", "MT401", "MT402", "MT403"}, "MT203": {"MT204"}}  # that norm reads a pool
    assert unchecked == silenced.get(id, set())


def test_every_rule_is_planted_somewhere() -> None:
    elsewhere = {"MT103", "MT202", "MT303", "MT401", "MT402", "MT403"}  # below, on networks that have such parts
    assert set(PLANTS) | elsewhere == {rule.id for rule in RULES}
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_counts_in_the_evidence() -> None:
    assert faults_of("MT001", nan).startswith("2 values")
    assert faults_of("MT002", dead).startswith("2 units in 1 layer with only zero weights")
    assert "reads 25.0% of them" in faults_of("MT101", skipped)
    assert "16 bias values of 1 layer" in faults_of("MT201", biased)
    assert "3 units are multiplied by zero" in faults_of("MT004", off)
    assert "rate 9 on 8 positions" in faults_of("MT104", rates)


def faults_of(id: str, plant: Callable[[nn.Module], None]) -> str:
    fault = faults_all(planted(plant))[id].fault
    assert fault is not None
    return fault.evidence


def faults_all(net: nn.Module) -> dict[str, RuleOutcome]:
    return {one.rule.id: one for one in run_audit(opened(net)) if one.fault}


def test_a_norm_that_multiplies_by_zero_may_hand_on_its_shift() -> None:
    """In `off` three scales are zero with shifts of zero; with one positive shift one constant survives the ReLU."""
    assert faults_of("MT004", off).endswith("without them the outputs stay what they are")

    def shifted(net: nn.Module) -> None:
        off(net)
        net.norm2.bias[1], net.norm2.bias[2] = 0.7, -0.7

    assert "1 of them hands on a constant that reaches the outputs, most, 1, in norm2" in faults_of("MT004", shifted)


def test_a_dilation_that_meets_the_stride_reads_a_quarter() -> None:
    """3 x 3 at stride 2 and dilation 2 reads every second row and column: coverage 3, 0, 3, 0."""
    assert "conv2 reads 25.0% of them" in faults_of("MT101", met)


def test_dilated_kernels_that_never_lie_on_the_map_whole() -> None:
    """Rate 5 on 8 cells: ((1 + 2 · 3/8) / 3)² = 34 % of the taps, 10 of 8 cells from the first to the last; a note, no warning."""
    outcome = faults(planted(wide))["MT104"]
    assert outcome.severity == "note" and outcome.fault is not None and outcome.fault.edit == "atrous_rates"
    assert (
        "1 never has all taps on the map: conv3 has rate 5 on 8 positions, 34.0% of its taps read it" in outcome.fault.evidence
    )


def test_dead_taps_are_counted_not_guessed() -> None:
    """Rate 9 on 8 cells without padding on 26 cells is alive; with mirrored padding the taps read the map again."""

    def mirrored(net: nn.Module) -> None:
        net.conv3 = nn.Conv2d(16, 16, 3, padding=7, dilation=7, bias=False, padding_mode="reflect")

    def whole(net: nn.Module) -> None:
        net.conv1, net.conv2 = nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 16, 1, bias=False)
        net.conv3 = nn.Conv2d(16, 16, 3, dilation=15, bias=False)  # from 32 cells 2 are left, each with all its taps

    def along_rows(net: nn.Module) -> None:
        net.conv3 = nn.Conv2d(16, 16, 3, padding=(9, 1), dilation=(9, 1), bias=False)

    assert faults(planted(mirrored)) == faults(planted(whole)) == {}
    fault = faults(planted(along_rows))["MT104"].fault
    assert fault is not None and "reads only one tap along an axis: conv3 has rate 9 on 8 positions, 30.6% of" in fault.evidence


@pytest.mark.parametrize("rates", [(5, 10, 15), (7, 15), (8,)])
def test_parallel_branches_that_reach_the_border_are_no_fault(rates: tuple[int, ...]) -> None:
    assert faults(planted(parallel(*rates))) == {}


def test_parallel_branches_for_smaller_maps() -> None:
    """Rates 2 and 4 on 32 cells reach 4 / 32 = 12.5% of the side; r_max = 15, so 8 and 15. At 8 px the same rates are too large."""
    fault = faults(planted(parallel(2, 4)))["MT105"].fault
    assert fault is not None and fault.edit == "atrous_rates"
    assert "widest of conv3, conv3.branches.1, has rate 4 on 32 positions: it reaches 12.5% of the side" in fault.evidence
    assert "on 32 positions: 8, 15 (rule" in fault.fix
    assert set(faults(planted(parallel(2, 4)), size=16)) == set()  # 0.25 of the side
    small = faults(planted(parallel(2, 4)), size=8)["MT104"]
    assert small.fault is not None and small.fault.layers == ("conv3.branches.1",) and small.severity == "note"


@pytest.mark.parametrize(
    ("plant", "id"), [(rates, "MT104"), (wide, "MT104"), (parallel(2, 4), "MT105"), (parallel(9, 33), "MT104")]
)
def test_the_edit_mends_what_is_said_of_rates(plant: Callable[[nn.Module], None], id: str) -> None:
    from microtome.edit import apply_edits

    net = opened(planted(plant))
    (found,) = [one.fault for one in run_audit(net) if one.rule.id == id]
    assert found is not None
    assert not [one.rule.id for one in run_audit(apply_edits(net, [found.edit])) if one.fault]


def faults_all_at(net: nn.Module, size: int) -> dict[str, RuleOutcome]:
    return {one.rule.id: one for one in run_audit(opened(net, size=size)) if one.fault}


def test_a_batch_norm_bias_is_kept_where_no_norm_follows() -> None:
    def plain(net: nn.Module) -> None:
        biased(net)
        net.norm2 = nn.Identity()

    assert set(faults(planted(plain))) == set()


def test_dropout_after_the_last_norm_is_no_fault() -> None:
    def behind(net: nn.Module) -> None:
        net.norm3 = nn.Sequential(nn.BatchNorm2d(16), nn.Dropout(0.5))

    assert set(faults(planted(behind))) == set()


def test_variance_shift_is_the_formula() -> None:
    """Before a bias-free layer: Var / (Var + (1/keep − 1) · Σ w² E[x²]); a 1 x 1 layer on independent noise makes it exact."""

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.conv, self.norm = nn.Dropout(0.5), nn.Conv2d(3, 64, 1, bias=False), nn.BatchNorm2d(64)
            self.head = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(self.norm(self.conv(self.drop(x)))).mean((2, 3)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Bare().eval()
    fault = check_dropout_before_norm(Subject(opened(net)))
    assert fault is not None
    told = float(fault.evidence.split(" is ")[1].split(" times")[0])
    assert told == pytest.approx(0.5, abs=0.015)  # E[x²] = Var x = 1: 1 / (1 + 1)
    assert "Move it behind" in fault.fix


def test_the_dilution_is_pi_over_the_number_of_cells() -> None:
    """Half-normal features that are pooled: E[x²] / (N E[x]²) = π / 2 / N, for rectified normal ones π / N."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.pool, self.drop, self.head = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Dropout(0.2), nn.Linear(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.drop(self.pool(self.act(x)).flatten(1)))

    fault = faults(Pooled().eval())["MT302"].fault
    assert fault is not None
    told = float(fault.evidence.split("would be ")[1].split(" times")[0])
    assert told == pytest.approx(torch.pi / 1024, abs=0.0006)


def test_what_is_ignored_is_not_told() -> None:
    net = opened(planted(dead))
    assert not [one for one in run_audit(net, ["MT002"]) if one.fault]
    (muted,) = [one for one in run_audit(net, ["MT002:conv*"]) if one.muted]
    assert muted.fault is None and muted.muted == 1
    assert [one.rule.id for one in run_audit(net, ["MT002:norm*"]) if one.fault] == ["MT002"]
    with pytest.raises(UnknownName, match="no rule 'MT02'.*MT002"):
        run_audit(net, ["MT02"])


def test_misplaced_dropout_names_the_edit_where_the_block_has_a_place() -> None:
    """A pre-activation branch has one, after its last norm; the audit of the edited network finds no shift in the branch."""
    from microtome.edits.dropout import Dropout

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.conv1, self.drop = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Dropout(0.5)
            self.norm2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv2(torch.relu(self.norm2(self.drop(self.conv1(torch.relu(self.norm1(x)))))))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()
    fault = faults_all(net)["MT301"].fault
    assert fault is not None and fault.edit == "dropout:p=0.5" and "right before its last weights (1.conv2)" in fault.fix
    assert "MT301" not in {one.rule.id for one in run_audit(Dropout(p=0.5)(opened(net))) if one.fault}


def test_one_is_singular() -> None:
    assert (plural(1, "layer"), plural(2, "layer"), plural(0, "layer")) == ("1 layer", "2 layers", "0 layers")
    assert plural(1, "never has", "never have") == "1 never has"
