"""What is measured of a data set: columns of equal length."""

from typing import Any

from numpy.typing import NDArray

Table = dict[str, NDArray[Any]]  # column -> its values; ``row`` names each row to a person
