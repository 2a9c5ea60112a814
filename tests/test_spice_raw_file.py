"""Raw files of ngspice: binary and ASCII, real and complex, several plots, and damaged ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lightsleeper.circuits.spice import read_raw
from lightsleeper.errors import InputError

NAMES = ("time", "V(Band1)", "i(vdd)")
tables = arrays(
    np.float64, st.tuples(st.integers(1, 5), st.just(len(NAMES))), elements=st.floats(-1e9, 1e9, allow_subnormal=False)
)


def raw(table: NDArray[np.generic], *, name: str = "Transient Analysis", binary: bool = True) -> bytes:
    """A plot as ngspice writes it."""
    kind = "complex" if np.iscomplexobj(table) else "real"
    lines = ["Title: * a first stage", "Date: Tue Nov 24 21:00:00  2026", f"Plotname: {name}", f"Flags: {kind}"]
    lines += [f"No. Variables: {len(NAMES)}", f"No. Points: {len(table)}", "Variables:"]
    lines += [f"\t{number}\t{vector}\tvoltage" for number, vector in enumerate(NAMES)]
    head = "\n".join([*lines, "Binary:" if binary else "Values:"]) + "\n"
    if binary:
        return head.encode() + table.tobytes()
    texts = []
    for number, row in enumerate(table):
        values = [f"{v.real!r},{v.imag!r}" if kind == "complex" else repr(float(v)) for v in row.tolist()]
        texts.append(f" {number}\t" + "\n\t".join(values) + "\n")
    return head.encode() + "\n".join(texts).encode() + b"\n"


@given(tables, st.booleans(), st.booleans())
def test_every_form_gives_the_table_back(
    tmp_path_factory: pytest.TempPathFactory, table: NDArray[np.float64], binary: bool, complex_valued: bool
) -> None:
    values = table + 1j * table[::-1] if complex_valued else table
    path = tmp_path_factory.getbasetemp() / "form.raw"
    path.write_bytes(raw(values, binary=binary))
    (plot,) = read_raw(path)
    assert plot.name == "Transient Analysis"
    assert list(plot.vectors) == ["time", "v(band1)", "i(vdd)"]
    np.testing.assert_array_equal(np.stack(list(plot.vectors.values()), axis=1), values)
    np.testing.assert_array_equal(plot.real("V(BAND1)"), table[:, 1])


@pytest.mark.parametrize("binary", [True, False])
def test_several_plots_in_one_file(tmp_path: Path, binary: bool) -> None:
    first, second = np.arange(6.0).reshape(2, 3), np.arange(9.0).reshape(3, 3) * 1j
    path = tmp_path / "out.raw"
    path.write_bytes(raw(first, name="Operating Point", binary=binary) + raw(second, name="AC Analysis", binary=binary))
    plots = read_raw(path)
    assert [plot.name for plot in plots] == ["Operating Point", "AC Analysis"]
    np.testing.assert_array_equal(plots[0]["time"], first[:, 0])
    np.testing.assert_array_equal(plots[1]["i(vdd)"], second[:, 2])


@pytest.mark.parametrize("binary", [True, False])
def test_a_file_cut_anywhere_is_one_clear_error(tmp_path: Path, binary: bool) -> None:
    whole = raw(np.arange(6.0).reshape(2, 3), binary=binary)
    path = tmp_path / "cut.raw"
    for length in range(0, len(whole) - 8, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.raw: (is empty|truncated)"):
            read_raw(path)


def test_a_missing_file_and_a_missing_vector_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.raw: cannot be read"):
        read_raw(tmp_path / "gone.raw")
    path = tmp_path / "out.raw"
    path.write_bytes(raw(np.ones((1, 3))))
    with pytest.raises(InputError, match=r"no vector v\(band9\); the raw file holds time, v\(band1\), i\(vdd\)"):
        read_raw(path)[0]["v(band9)"]
