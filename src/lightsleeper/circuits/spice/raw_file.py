"""Reader of the raw files that ngspice writes: binary and ASCII, real and complex, several plots in one file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightsleeper.errors import InputError

__all__ = ["Plot", "read_raw"]

Values = NDArray[np.float64] | NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Plot:
    """One analysis of a raw file.

    Attributes:
        name: what ngspice calls it, such as "Transient Analysis" or "AC Analysis".
        vectors: variable name in lower case, such as "time", "v(band1)" or "i(vdd)", -> values (points,), float64 or
            complex128; SI units.
    """

    name: str
    vectors: dict[str, Values]

    def real(self, vector: str) -> NDArray[np.float64]:
        """A vector as real numbers (points,), of a complex one its real part; InputError where it is missing."""
        return np.ascontiguousarray(self[vector].real, dtype=np.float64)

    def __getitem__(self, vector: str) -> Values:
        """A vector (points,), whatever the case of its name; InputError names those there are."""
        try:
            return self.vectors[vector.lower()]
        except KeyError:
            known = ", ".join(self.vectors)
            raise InputError(f"{self.name}: no vector {vector}; the raw file holds {known}: add it to .save") from None


def read_raw(path: Path) -> list[Plot]:
    """Every plot of a raw file, in its order.

    Raises:
        InputError: the file is missing, empty, truncated or no raw file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    plots = []
    position = 0
    try:
        while content[position:].strip():
            plot, position = _plot(content, position)
            plots.append(plot)
    except (KeyError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: truncated or not a raw file of ngspice ({error}); simulate again") from None
    if not plots:
        raise InputError(f"{path}: is empty; simulate again")
    return plots


def _plot(content: bytes, position: int) -> tuple[Plot, int]:
    """The plot that begins at `position`, and where it ends."""
    header: dict[str, str] = {}
    names: list[str] = []
    while True:
        end = content.index(b"\n", position)
        key, _, value = content[position:end].decode("utf-8").partition(":")
        position = end + 1
        if key in ("Binary", "Values"):
            break
        if key == "Variables":
            for _ in range(int(header["No. Variables"])):
                end = content.index(b"\n", position)
                names.append(content[position:end].split()[1].decode("utf-8").lower())
                position = end + 1
        elif key.strip():
            header[key] = value.strip()
    complex_valued = "complex" in header["Flags"]
    shape = int(header["No. Points"]), len(names)
    read = _binary if key == "Binary" else _ascii
    table, position = read(content, position, shape, complex_valued)
    return Plot(header["Plotname"], dict(zip(names, table.T.copy(), strict=True))), position


def _binary(content: bytes, position: int, shape: tuple[int, int], complex_valued: bool) -> tuple[Values, int]:
    """Doubles point by point, in the machine's byte order."""
    count = shape[0] * shape[1]
    values: Values
    if complex_valued:
        values = np.frombuffer(content, np.complex128, count=count, offset=position)
    else:
        values = np.frombuffer(content, np.float64, count=count, offset=position)
    return values.reshape(shape), position + values.nbytes


def _ascii(content: bytes, position: int, shape: tuple[int, int], complex_valued: bool) -> tuple[Values, int]:
    """Per point its number, then one value a line; the parts of a complex value are joined by a comma."""
    end = content.find(b"Title:", position)
    end = len(content) if end < 0 else end
    words = content[position:end].split()
    if len(words) != shape[0] * (shape[1] + 1):
        raise ValueError(f"{len(words)} values, not {shape[0]} points of {shape[1]}")
    texts = np.array(words).reshape(shape[0], shape[1] + 1)[:, 1:]
    if complex_valued:
        parts = np.array([[word.split(b",") for word in row] for row in texts], dtype=np.float64)
        return parts[..., 0] + 1j * parts[..., 1], end
    return texts.astype(np.float64), end
