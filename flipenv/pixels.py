"""The two kinds of pictures that everything else is made of, as NumPy arrays."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Grey: TypeAlias = NDArray[np.uint8]  # (height, width), grey levels 0..255
Mask: TypeAlias = NDArray[np.bool_]  # (height, width), True inside
