"""What the numbers of a first layer mean, in plain words, and which of them are findings."""

from collections.abc import Mapping, Sequence

DEAD_FILTERS, LARGEST_ENERGY, ABOVE_NYQUIST, ABOVE_NYQUIST_NATURAL = (
    "dead filters",
    "largest filter",
    "above Nyquist",
    "above, natural pictures",
)
HALVED_STRIDE, MIDDLE_TO_EXTREMES, INNER_KERNEL, GREY_FILTERS = (
    "above at half the stride",
    "middle to extremes",
    "inner kernel",
    "grey filters",
)
TWIN_RATIO = 0.9  # of the twin's number: nearer than this to it is no finding
GAP_RATIO = 0.8  # of the lesser of low and high frequencies, and of the twin's number: less in the middle is a gap
DOMINANT_RATIO = 4.0  # times its even share of the energy, and twice the twin's largest
MAX_NAMES = 6  # dead filters called by number

Numbers = Mapping[str, float]
Verdict = tuple[bool, str]  # whether it is a finding, and what it means


def judge_filters(
    value: Numbers, twin: Numbers, dead: Sequence[int], units: int, side: int, stride: int, trained: bool | None
) -> dict[str, Verdict]:
    """The verdict on every number of `value`, beside the untrained twin's; `side` of the kernel and `stride` are in px."""
    if trained is False:
        return dict.fromkeys(value, (False, "untrained: no finding"))
    told: dict[str, Verdict] = dict.fromkeys(value, (False, ""))
    told[DEAD_FILTERS] = _judge_dead(value, twin, dead, units)
    if len(dead) == units:
        return told
    heavy = value[LARGEST_ENERGY] > max(DOMINANT_RATIO, 2 * twin[LARGEST_ENERGY])
    text = f"One filter holds {value[LARGEST_ENERGY]:.1f} times its even share of the energy: filter renormalisation keeps it down."
    told[LARGEST_ENERGY] = (heavy, text if heavy else "no filter dominates")
    told[ABOVE_NYQUIST] = _judge_aliasing(value, twin, side, stride)
    told[ABOVE_NYQUIST_NATURAL] = (False, "pictures whose power falls with 1/f²")
    told[HALVED_STRIDE] = (False, f"what a stride of {-(-stride // 2)} would fold" if stride > 1 else "the stride is 1")
    gap = value[MIDDLE_TO_EXTREMES] < GAP_RATIO and value[MIDDLE_TO_EXTREMES] < GAP_RATIO * twin[MIDDLE_TO_EXTREMES]
    text = (
        f"Very low and very high frequencies without the middle ({value[MIDDLE_TO_EXTREMES]:.2f} of the lesser of them; untrained twin "
        f"{twin[MIDDLE_TO_EXTREMES]:.2f}): a smaller kernel and stride, as from 11 x 11 / 4 to 7 x 7 / 2 in Zeiler & Fergus."
    )
    told[MIDDLE_TO_EXTREMES] = (gap, text if gap else "no gap between low and high")
    told[INNER_KERNEL] = _judge_rim(value, twin, side)
    told[GREY_FILTERS] = (False, "the others see colour")
    return told


def smaller_kernel(side: int) -> int:
    """The side of the next smaller kernel: 7 for 11, 5 for 7, 3 for 5, 1 for 3."""
    return max(1, side - 4 if side >= 9 else side - 2)


def _judge_dead(value: Numbers, twin: Numbers, dead: Sequence[int], units: int) -> Verdict:
    if not dead:
        return False, "none"
    if value[DEAD_FILTERS] <= twin[DEAD_FILTERS]:
        return False, "no more than by chance"
    some = ", ".join(map(str, dead[:MAX_NAMES])) + (", …" if len(dead) > MAX_NAMES else "")
    return True, f"{len(dead)} of {units} filters see nothing ({some}): take them out, or train with filter renormalisation."


def _judge_aliasing(value: Numbers, twin: Numbers, side: int, stride: int) -> Verdict:
    """What the stride folds, as a finding only where a smaller stride is the usual cure."""
    if stride == 1:
        return False, "stride 1 folds nothing"
    if side <= stride:
        return False, "windows share no pixel: what is above is told apart by the many units of a patch, not by its place"
    if value[ABOVE_NYQUIST] >= TWIN_RATIO * twin[ABOVE_NYQUIST]:
        return False, "as flat as random filters: no finding"
    if stride < 3 or value[ABOVE_NYQUIST] - value[HALVED_STRIDE] < 0.1:
        return False, "random filters fold more"
    return True, (
        f"Stride {stride} folds {value[ABOVE_NYQUIST]:.0%} of a filter's energy, stride {-(-stride // 2)} would fold "
        f"{value[HALVED_STRIDE]:.0%}: "
        f"halve the stride and train anew (microtome edit SPECIMEN front_end:stride={-(-stride // 2)}), or blur before it."
    )


def _judge_rim(value: Numbers, twin: Numbers, side: int) -> Verdict:
    inner = smaller_kernel(side)
    if side > 3 and value[INNER_KERNEL] > 0.95 > twin[INNER_KERNEL]:
        return True, (
            f"The inner {inner} x {inner} weights hold {value[INNER_KERNEL]:.0%} of the energy (untrained twin "
            f"{twin[INNER_KERNEL]:.0%}): a kernel "
            f"of that size would do (front_end:kernel={inner})."
        )
    return False, f"of the inner {inner} x {inner}" + (": the whole kernel is used" if side > 1 else "")
