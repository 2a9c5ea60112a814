"""A model as a shared library: order of samples, saving and restoring to the bit, bad input."""

import ctypes
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_build import C_OF_TESTS, tiny_library, tiny_samples
from lightsleeper.device import TrainerLibrary, build_library
from lightsleeper.device.samples import Samples, read_samples
from lightsleeper.errors import InputError, LightsleeperError, MissingToolError


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_library(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def samples(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return read_samples(tiny_samples(tmp_path_factory.mktemp("data") / "d.npz", bad=3), TrainerLibrary(built))


@pytest.fixture(scope="session")
def sample_at(built: Path):
    loaded = ctypes.CDLL(str(built)).ls_sample_at
    loaded.argtypes = [ctypes.c_uint64, ctypes.c_uint32]
    loaded.restype = ctypes.c_uint32
    return loaded


def mixed(word: int) -> int:
    word ^= word >> 16
    word = word * 0x85EBCA6B % 2**32
    word ^= word >> 13
    word = word * 0xC2B2AE35 % 2**32
    return word ^ (word >> 16)


def reference_sample_at(taken: int, rows: int) -> int:
    """The readable reference: a keyed Feistel permutation of 0 to 4^half_bits - 1, walked until it lies in the rows."""
    epoch, place = divmod(taken, rows)
    key = mixed(epoch % 2**32 ^ mixed(epoch >> 32))
    half_bits = next(bits for bits in range(1, 17) if 4**bits >= rows)
    while True:
        left, right = divmod(place, 2**half_bits)
        for turn in range(4):
            left, right = right, left ^ mixed(right ^ key ^ turn << 30) % 2**half_bits
        place = left * 2**half_bits + right
        if place < rows:
            return place


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**30))
def test_order_is_that_of_the_reference(sample_at, taken, rows):
    assert sample_at(taken, rows) == reference_sample_at(taken, rows)


@given(st.integers(1, 300), st.integers(0, 2**20))
def test_each_pass_takes_every_sample_once(sample_at, rows, epoch):
    assert sorted(sample_at(epoch * rows + i, rows) for i in range(rows)) == list(range(rows))


def test_orders_of_passes_look_random(sample_at):
    """Each row is first about equally often: 6,000 passes of 6 rows, chi-squared with 5 degrees of freedom."""
    firsts = Counter(sample_at(epoch * 6, 6) for epoch in range(6000))
    assert sum((firsts[row] - 1000) ** 2 / 1000 for row in range(6)) < 20.5  # 99.9 %
    neighbours = Counter(sample_at(epoch * 6 + 1, 6) - sample_at(epoch * 6, 6) for epoch in range(6000))
    assert 0.8 < neighbours[1] / 1000 < 1.2


def test_it_learns_and_counts_bad_samples(built: Path, samples: Samples):
    library = TrainerLibrary(built)
    assert (library.name, library.inputs, library.outputs, library.classes, library.batch) == ("tiny", 4, 3, 3, 2)
    good = np.isfinite(samples.x).all(axis=1)

    def accuracy() -> float:
        return float((library.infer(samples.x[good]).argmax(axis=1) == samples.labels[good]).mean())

    before = accuracy()
    library.train(samples.x, samples.labels, samples=300 * 60)
    assert before < 0.6
    assert accuracy() > 0.85
    # Three bad rows in each pass; the batch that is open at the end may take a few samples of the next one.
    assert 180 <= library.skipped <= 183
    assert 18_000 <= library.taken <= 18_004


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_slices_and_restarts_change_no_bit(built: Path, samples: Samples, slices):
    whole = TrainerLibrary(built)
    whole.train(samples.x, samples.labels, samples=200)
    pieces = TrainerLibrary(built)
    for size in slices:
        pieces.train(samples.x, samples.labels, samples=min(size, 200 - pieces.taken))
        saved, pieces = pieces.save(), TrainerLibrary(built)
        pieces.restore(saved)
        if pieces.taken >= 200:
            break
    if pieces.taken < 200:
        pieces.train(samples.x, samples.labels, samples=200 - pieces.taken)
    assert pieces.save() == whole.save()


def test_a_state_of_another_size_is_refused(built: Path):
    library = TrainerLibrary(built)
    with pytest.raises(InputError, match=f"has 3 bytes: this model's has {library.saved_bytes}"):
        library.restore(b"abc")


REGRESSION_H = """
#include <stdint.h>
#define LINE_VERSION 7u
#define LINE_INPUTS 1
#define LINE_OUTPUTS 2
#define LINE_BATCH 1
typedef struct { float w[2]; } line_state;
#define LINE_CHECKPOINT_BYTES sizeof(line_state)
enum { LINE_SKIPPED = -1, LINE_ACCUMULATED = 0, LINE_STEPPED = 1 };
void line_init(line_state *s);
int line_train_step(line_state *s, const float x[LINE_INPUTS], const float target[LINE_OUTPUTS]);
void line_infer(const line_state *s, const float x[LINE_INPUTS], float y[LINE_OUTPUTS]);
"""
REGRESSION_C = """
#include "line.h"
void line_init(line_state *s) { s->w[0] = s->w[1] = 0.0f; }
int line_train_step(line_state *s, const float *x, const float *target) {
    for (int i = 0; i < 2; i++) { s->w[i] -= 0.1f * (s->w[i] * x[0] - target[i]) * x[0]; }
    return LINE_STEPPED;
}
void line_infer(const line_state *s, const float *x, float *y) { y[0] = s->w[0] * x[0]; y[1] = s->w[1] * x[0]; }
"""


def test_targets_may_be_numbers(tmp_path: Path):
    (tmp_path / "line.h").write_text(REGRESSION_H)
    (tmp_path / "line.c").write_text(REGRESSION_C)
    library = TrainerLibrary(build_library(tmp_path / "line.h", tmp_path / "line.so"))
    assert library.classes == 0
    x = np.linspace(-1, 1, 50, dtype=np.float64).reshape(50, 1)
    np.savez(tmp_path / "d.npz", x=x, y=x * [2.0, -3.0])
    read = read_samples(tmp_path / "d.npz", library)
    library.train(read.x, read.labels, samples=2000)
    assert library.infer(np.ones((1, 1), np.float32))[0] == pytest.approx([2.0, -3.0], abs=1e-3)


def test_bad_libraries_are_one_line(tmp_path: Path):
    with pytest.raises(InputError, match="no-such\\.so: no such library"):
        TrainerLibrary(tmp_path / "no-such.so")
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(InputError, match="text\\.so: no trainer library of this machine"):
        TrainerLibrary(tmp_path / "text.so")


def test_what_cannot_be_built_says_why(tmp_path: Path):
    with pytest.raises(InputError, match="net\\.h: no such file"):
        build_library(tmp_path / "net.h", tmp_path / "net.so")
    header = Path(shutil.copy(C_OF_TESTS / "tiny_model.h", tmp_path))
    (tmp_path / "tiny_model.c").write_text("int tiny_init = 3;")
    with pytest.raises(MissingToolError, match="no-such-compiler is not installed"):
        build_library(header, tmp_path / "net.so", compiler="no-such-compiler")
    (tmp_path / "tiny_model.c").write_text('#include "tiny_model.h"\nint broken(void) { return unknown; }')
    with pytest.raises(LightsleeperError, match=r"does not compile: .*unknown"):
        build_library(header, tmp_path / "net.so")
    header.write_text("int main(void);")
    with pytest.raises(InputError, match="declares no train_step"):
        build_library(header, tmp_path / "net.so")
