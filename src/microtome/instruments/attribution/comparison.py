"""Maps of one network compared with other maps of the same layers, on one grid."""

from collections.abc import Mapping

from torch import Tensor

from microtome.instruments.attribution.drawing import resample_map
from microtome.instruments.attribution.visible_layers import VisibleLayers
from microtome.numerics.maps.heat import rank_correlation
from microtome.numerics.receptive.geometry import even_tiling, resample_area


def mean_rank_correlation(
    maps: Mapping[str, Tensor], others: Mapping[str, Tensor] | Tensor, shown: VisibleLayers, size: tuple[int, int], grid: int
) -> list[float]:
    """The mean rank correlation, for each layer, of maps with other maps of that layer, all on one grid.

    `others` may also be one map (image, row, col) over the image of `size` px, for all layers. Constant maps do not count.
    """

    def flat(resampled: Tensor) -> Tensor:
        # in single precision, so that equal values stay equal: rounding would give them ranks, and a constant map a correlation
        return resampled.float().flatten(1)

    correlation: list[float] = []
    for name in shown.names:
        if isinstance(others, Tensor):
            tiling = even_tiling(size, (int(others.shape[1]), int(others.shape[2])))
            second = resample_area(others, tiling, size, (grid, grid))
        else:
            second = resample_map(shown, name, others[name], size, (grid, grid))
        first = resample_map(shown, name, maps[name], size, (grid, grid))
        correlation.append(float(rank_correlation(flat(first), flat(second)).nanmean()))
    return correlation
