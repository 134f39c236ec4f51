"""What a layer's index amounts to, the size first, in words that never call chance a finding."""

import math

from microtome.numerics.weights.banding import BANDED_A


def judgement_text(maps: float, raw: float, low: float, high: float, twin_maps: float, reach: float) -> str:
    """ "A = +0.78 (raw weights +0.21, 95 % +0.19 to +0.23; untrained twin +0.01), horizontal bands".

    `maps` and `raw` are the indices of maps and weights, `low` and `high` the interval of `raw`, `twin_maps` the index of the
    untrained twin's maps and `reach` the largest in any of its layers. Bands are said from `BANDED_A` on, unless the twin has them
    too; a leaning where the interval leaves out 0 and no layer of the twin reaches as far.
    """
    if not math.isfinite(maps):
        return "no A, since its maps do not vary"
    between = f", 95 % {low:+.2f} to {high:+.2f}" if math.isfinite(low) else ""
    twin = f"; untrained twin {twin_maps:+.2f}" if math.isfinite(twin_maps) else ""
    known = f"A = {maps:+.2f} (raw weights {raw:+.2f}{between}{twin})"
    kind = "horizontal" if maps > 0 else "vertical"
    if abs(maps) >= BANDED_A:
        same = math.isfinite(twin_maps) and abs(twin_maps) >= BANDED_A
        return f"{known}, {'no more than random weights give' if same else f'{kind} bands'}"
    leans = (low > 0 if maps > 0 else high < 0) and abs(maps) > reach
    return f"{known}, {f'no bands but a {kind} leaning' if leans else 'no bands'}"
