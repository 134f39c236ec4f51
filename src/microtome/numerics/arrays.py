"""The one spelling of "a numpy array" for shape annotations: `Float[Array, "image feature"]`."""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
else:
    Array = np.ndarray  # jaxtyping checks against the class itself
