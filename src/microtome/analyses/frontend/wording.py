"""What the numbers of a first layer mean, and which of them are faults."""

from collections.abc import Mapping, Sequence

from microtome.errors import hint
from microtome.key_numbers import FRACTION, format_value

DEAD_FILTERS, LARGEST_ENERGY, ABOVE_NYQUIST, ABOVE_NYQUIST_NATURAL = (
    "dead filters",
    "largest filter",
    "above Nyquist",
    "above, natural images",
)
HALVED_STRIDE, MIDDLE_TO_EXTREMES, INNER_KERNEL, GREY_FILTERS = (
    "above at half the stride",
    "middle to extremes",
    "inner kernel",
    "grey filters",
)
TWIN_RATIO = 0.9  # of the smallest of the twins: a number above that is no fault
GAP_RATIO = 0.8  # of the lesser of low and high frequencies, and of the smallest of the twins: less in the middle is a gap
DOMINANT_RATIO = 4.0  # times the mean energy, and twice the largest of the twins'
MAX_NAMES = 6  # dead filters listed by number

Numbers = Mapping[str, float]
Verdict = tuple[bool, str]  # whether it is a fault, and what it means


def judge_filters(
    value: Numbers, low: Numbers, high: Numbers, dead: Sequence[int], units: int, side: int, stride: int, trained: bool | None
) -> dict[str, Verdict]:
    """The verdict on every number of `value`, given the smallest and largest of the untrained twins; `side` and `stride` are in px."""
    if trained is False:
        return dict.fromkeys(value, (False, "untrained: not judged"))
    verdicts: dict[str, Verdict] = dict.fromkeys(value, (False, ""))
    verdicts[DEAD_FILTERS] = _judge_dead(value, high, dead, units)
    if len(dead) == units:
        return verdicts
    heavy = value[LARGEST_ENERGY] > max(DOMINANT_RATIO, 2 * high[LARGEST_ENERGY])
    text = f"One filter has {format_value(value[LARGEST_ENERGY])} times the mean energy: filter renormalisation prevents that."
    verdicts[LARGEST_ENERGY] = (heavy, text if heavy else "no filter dominates")
    verdicts[ABOVE_NYQUIST] = _judge_aliasing(value, low, side, stride)
    verdicts[ABOVE_NYQUIST_NATURAL] = (False, "for images whose power falls with 1/f²")
    verdicts[HALVED_STRIDE] = (False, f"what a stride of {-(-stride // 2)} would alias" if stride > 1 else "the stride is 1")
    gap = value[MIDDLE_TO_EXTREMES] < GAP_RATIO and value[MIDDLE_TO_EXTREMES] < GAP_RATIO * low[MIDDLE_TO_EXTREMES]
    text = (
        f"Very low and very high frequencies without the middle ({format_value(value[MIDDLE_TO_EXTREMES])} of the lesser of them; "
        f"untrained twins at least {format_value(low[MIDDLE_TO_EXTREMES])}): use a smaller kernel and stride, as from 11 x 11 / 4 to "
        "7 x 7 / 2 in Zeiler & Fergus."
    )
    verdicts[MIDDLE_TO_EXTREMES] = (gap, text if gap else "no gap between low and high")
    verdicts[INNER_KERNEL] = _judge_rim(value, high, side)
    verdicts[GREY_FILTERS] = (False, "the others respond to colour")
    return verdicts


def smaller_kernel(side: int) -> int:
    """The side of the next smaller kernel: 7 for 11, 5 for 7, 3 for 5, 1 for 3."""
    return max(1, side - 4 if side >= 9 else side - 2)


def _judge_dead(value: Numbers, high: Numbers, dead: Sequence[int], units: int) -> Verdict:
    if not dead:
        return False, "none"
    if value[DEAD_FILTERS] <= high[DEAD_FILTERS]:
        return False, "no more than in an untrained twin"
    some = ", ".join(map(str, dead[:MAX_NAMES])) + (", …" if len(dead) > MAX_NAMES else "")
    return True, f"{len(dead)} of {units} filters are dead ({some}): remove them, or train with filter renormalisation."


def _judge_aliasing(value: Numbers, low: Numbers, side: int, stride: int) -> Verdict:
    """What the stride aliases, as a fault only where a smaller stride is the usual remedy."""
    if stride == 1:
        return False, "stride 1 aliases nothing"
    if side <= stride:
        return False, "windows do not overlap: the units of a patch resolve what lies above Nyquist"
    if value[ABOVE_NYQUIST] >= TWIN_RATIO * low[ABOVE_NYQUIST]:
        return False, "as flat as random filters"
    if stride < 3 or value[ABOVE_NYQUIST] - value[HALVED_STRIDE] < 0.1:
        return False, "random filters alias more"
    half = -(-stride // 2)
    return True, (
        f"Stride {stride} aliases {format_value(value[ABOVE_NYQUIST], FRACTION)} of a filter's energy, stride {half} would alias "
        f"{format_value(value[HALVED_STRIDE], FRACTION)}: halve the stride and retrain ("
        + hint(f"microtome edit SPECIMEN front_end:stride={half}", f"mt.edits.front_end.FrontEnd(stride={half})")
        + "), or blur before it."
    )


def _judge_rim(value: Numbers, high: Numbers, side: int) -> Verdict:
    inner = smaller_kernel(side)
    if side > 3 and value[INNER_KERNEL] > 0.95 > high[INNER_KERNEL]:
        return True, (
            f"The inner {inner} x {inner} weights hold {format_value(value[INNER_KERNEL], FRACTION)} of the energy (untrained twins "
            f"at most {format_value(high[INNER_KERNEL], FRACTION)}): a kernel of that size suffices (front_end:kernel={inner})."
        )
    return False, f"of the inner {inner} x {inner}" + (": the whole kernel is used" if side > 1 else "")
