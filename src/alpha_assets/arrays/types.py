"""Array types by what they hold; a shape is spelled in the letters behind a variable's name.

close_DN: Array     # sessions, symbols
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]  # NaN where unknown
Array32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]  # places on an axis, codes of keys, numbers of sessions; -1 for none
Places = NDArray[np.int32]  # an `Index` of many cells, in half the memory
Counts = NDArray[np.int16]
Dates = NDArray[np.datetime64]  # datetime64[D]
Instants = NDArray[np.datetime64]  # datetime64[us], UTC
