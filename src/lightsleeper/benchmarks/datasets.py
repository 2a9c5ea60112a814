"""Data sets of the benchmark as tensors. All but scikit-learn's digits are read from the data folder."""

import csv
import gzip
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import decimate
from torch import Tensor

from lightsleeper.benchmarks.packages import optional_package
from lightsleeper.errors import InputError
from lightsleeper.learning import LogMel

__all__ = [
    "Dataset",
    "activity_features",
    "digits",
    "ecg_beats",
    "ecg_normal_beats",
    "fashion_images",
    "small_images",
    "spoken_digits",
]

Array = NDArray[Any]

_BEATS = "NSVF"
# Records with F beats are few: 208 has nine in ten of them and trains.
_ECG_TEST = frozenset({"106", "109", "114", "119", "124", "201", "205", "209", "215", "220", "223"})
_ECG_RATE_HZ = 360


@dataclass(frozen=True)
class Dataset:
    """Training and test examples.

    Attributes:
        x_train, x_test: inputs (N, ...), float32, standardised by the training examples.
        y_train, y_test: labels (N,), int64 from 0.
        classes: number of labels.
        in_order: the training examples stand in the order in which they were recorded.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int
    in_order: bool = False


def _dataset(x_train: Array, y_train: Array, x_test: Array, y_test: Array, **more: Any) -> Dataset:
    def inputs(x: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))

    def labels(y: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(y, dtype=np.int64))

    classes = int(max(y_train.max(), y_test.max())) + 1
    return Dataset(inputs(x_train), labels(y_train), inputs(x_test), labels(y_test), **{"classes": classes, **more})


def _standardised(x_train: Array, x_test: Array, axis: tuple[int, ...] | int = 0) -> tuple[Array, Array]:
    """Both sets by the mean and the standard deviation of the training set over `axis`."""
    mean = x_train.mean(axis=axis, keepdims=True)
    deviation = x_train.std(axis=axis, keepdims=True) + 1e-6
    return (x_train - mean) / deviation, (x_test - mean) / deviation


def _table(path: Path) -> list[dict[str, str]]:
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with opened(_existing(path), "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: no such file; --data (or LIGHTSLEEPER_DATA) must name the folder of recordings")
    return path


def digits() -> Dataset:
    """scikit-learn's 8x8 handwritten digits, 1,200 to train and 597 to test, drawn once with seed 0: (N, 64)."""
    bunch = optional_package("sklearn.datasets", distribution="scikit-learn").load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x, y = bunch.data[order] / 16.0, bunch.target[order]
    x_train, x_test = _standardised(x[:1200], x[1200:], axis=(0, 1))
    return _dataset(x_train, y[:1200], x_test, y[1200:])


def fashion_images(folder: Path) -> Dataset:
    """Fashion-MNIST, 2x2 pooled: the first 10,000 training and 2,000 test images, (N, 1, 14, 14)."""
    with np.load(_existing(folder / "fashion_mnist" / "fashion_mnist.npz")) as file:
        x = {part: file[f"x_{part}"][:count] for part, count in (("train", 10_000), ("test", 2_000))}
        y = {part: file[f"y_{part}"][:count] for part, count in (("train", 10_000), ("test", 2_000))}
    pooled = [x[part].reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5)) / 255.0 for part in ("train", "test")]
    x_train, x_test = _standardised(pooled[0], pooled[1], axis=(0, 1, 2, 3))
    return _dataset(x_train, y["train"], x_test, y["test"])


def small_images(folder: Path) -> Dataset:
    """Ten classes of natural images, 10,000 to train and 2,500 to test, (N, 3, 16, 16), standardised by colour."""
    with np.load(_existing(folder / "small_images" / "small_images.npz")) as file:
        arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    x_train, x_test = (np.moveaxis(arrays[name], 3, 1) / 255.0 for name in ("x_train", "x_test"))
    x_train, x_test = _standardised(x_train, x_test, axis=(0, 2, 3))
    return _dataset(x_train, arrays["y_train"], x_test, arrays["y_test"])


def activity_features(folder: Path) -> Dataset:
    """Six basic activities from a phone at the waist, users disjoint, in recording order: (N, 72) features.

    Windows of 2.56 s every 1.28 s. Of each of the three accelerations and three turn rates: mean, standard deviation,
    extremes, quartiles, root mean square of the first difference, and log power in five bands from 0.4 to 25 Hz.
    """
    with np.load(_existing(folder / "activity" / "activity.npz")) as file:
        scale = np.array([file["acc_scale_g"]] * 3 + [file["gyro_scale_rad_s"]] * 3)[:, None]
        signals = file["signals"] * scale
        start = dict(zip(file["exp"].tolist(), file["start"].tolist(), strict=True))
        is_test = dict(zip(file["exp"].tolist(), file["test"].tolist(), strict=True))
        labels = file["labels"]
    rows: dict[bool, list[tuple[Array, int]]] = {False: [], True: []}
    for experiment, _, label, first, last in labels.tolist():
        if label > 6:
            continue
        at = start[experiment]
        for begin in range(at + first - 1, at + last - 128 + 1, 64):
            rows[is_test[experiment]].append((_summary(signals[:, begin : begin + 128]), label - 1))
    x_train, x_test = (np.stack([features for features, _ in rows[part]]) for part in (False, True))
    y_train, y_test = (np.array([label for _, label in rows[part]]) for part in (False, True))
    x_train, x_test = _standardised(x_train, x_test)
    return _dataset(x_train, y_train, x_test, y_test, in_order=True)


def _summary(window: Array) -> Array:
    """Twelve features of each row of a window (channels, 128), flattened."""
    power = np.abs(np.fft.rfft(window - window.mean(axis=1, keepdims=True), axis=1)) ** 2
    edges = (1, 3, 6, 12, 25, 65)  # bins of 50 Hz / 128
    bands = [np.log(power[:, low:high].sum(axis=1) + 1e-6) for low, high in itertools.pairwise(edges)]
    quartiles = np.quantile(window, (0.25, 0.75), axis=1)
    steps = np.sqrt(np.square(np.diff(window, axis=1)).mean(axis=1))
    columns = [window.mean(axis=1), window.std(axis=1), window.min(axis=1), window.max(axis=1)]
    return np.stack([*columns, *quartiles, steps, *bands], axis=1).ravel()


def spoken_digits(folder: Path) -> Dataset:
    """Ten spoken digits of six speakers, official split, as log-mel of MLPerf Tiny's keyword shape: (N, 1, 49, 10).

    The first second, silence after shorter clips; frames of 40 ms every 20 ms.
    """
    mel = LogMel(rate_hz=8000, bands=10, frame_s=0.04, hop_s=0.02, low_hz=60, high_hz=3900, floor_pa2=1e-7)
    frames: dict[str, list[Array]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for row in _table(folder / "spoken_digits" / "index.csv"):
        samples, _ = soundfile.read(folder / "spoken_digits" / row["file"], dtype="float32", frames=8000)
        frames[row["split"]].append(mel(np.pad(samples, (0, 8000 - len(samples)))))
        labels[row["split"]].append(int(row["label"]))
    x_train, x_test = (np.stack(frames[part])[:, None] for part in ("train", "test"))
    x_train, x_test = _standardised(x_train, x_test, axis=(0, 1, 2))
    return _dataset(x_train, np.array(labels["train"]), x_test, np.array(labels["test"]))


def ecg_beats(folder: Path, *, most: int = 1200) -> Dataset:
    """Beats of the AAMI classes N, S, V, F, records disjoint, at most `most` of a class and set: (N, 10, 7).

    0.56 s around the R peak at 90 Hz, as 10 frames of five samples and the times to the beats before and after in units
    of the record's mean. Beats of a class are evenly spread over its own in recording order.
    """
    beats = _beats(folder)
    sets: dict[bool, list[tuple[Array, int]]] = {False: [], True: []}
    for test, rows in sets.items():
        for label in range(len(_BEATS)):
            of_class = [beat for record, beat, own in beats if (record in _ECG_TEST) == test and own == label]
            rows += [(beat, label) for beat in _spread(of_class, most)]
    x_train, x_test = (np.stack([beat for beat, _ in sets[part]]) for part in (False, True))
    y_train, y_test = (np.array([label for _, label in sets[part]]) for part in (False, True))
    x_train, x_test = _standardised(x_train, x_test)
    return _dataset(_frames(x_train), y_train, _frames(x_test), y_test)


def _frames(beats: Array) -> Array:
    """Beats (N, 52), 50 samples and two intervals, as (N, 10, 7): the intervals stand in every frame."""
    samples, intervals = beats[:, :50].reshape(-1, 10, 5), beats[:, None, 50:]
    return np.concatenate([samples, np.broadcast_to(intervals, (len(beats), 10, 2))], axis=2)


def ecg_normal_beats(folder: Path, *, most: int = 8000) -> Dataset:
    """To detect ventricular beats by reconstruction: normal beats train, normal (0) and V (1) beats test: (N, 50).

    Records disjoint, in recording order; at most `most` beats train and a quarter as many of each kind test.
    """
    beats = _beats(folder)
    normal = [beat[:50] for record, beat, label in beats if record not in _ECG_TEST and label == 0]
    tests = [
        _spread([beat[:50] for record, beat, own in beats if record in _ECG_TEST and own == label], most // 4)
        for label in (0, 2)
    ]
    x_train, x_test = _standardised(np.stack(_spread(normal, most)), np.stack(tests[0] + tests[1]))
    y_test = np.array([0] * len(tests[0]) + [1] * len(tests[1]))
    return _dataset(x_train, np.zeros(len(x_train)), x_test, y_test, in_order=True)


def _spread(items: list[Array], most: int) -> list[Array]:
    """At most `most` items, evenly spread."""
    if len(items) <= most:
        return items
    return [items[index] for index in np.linspace(0, len(items) - 1, most).astype(int)]


def _beats(folder: Path) -> list[tuple[str, Array, int]]:
    """(record, 50 samples and two intervals, class) of every beat that has neighbours, in recording order."""
    annotations: dict[str, list[tuple[int, str]]] = {}
    for row in _table(folder / "ecg" / "annotations.csv.gz"):
        if row["aami"]:
            annotations.setdefault(row["record"], []).append((int(row["sample"]), row["aami"]))
    beats = []
    for row in _table(folder / "ecg" / "records.csv"):
        record, of_record = row["record"], annotations[row["record"]]
        counts, _ = soundfile.read(_existing(folder / "ecg" / "records" / f"{record}.flac"), dtype="int16")
        signal = decimate(counts / float(row["gain_adu_per_mV"]), 4)
        at = np.array([sample for sample, _ in of_record])
        mean_s = np.diff(at).mean() / _ECG_RATE_HZ
        for index in range(1, len(of_record) - 1):
            first, kind = at[index] // 4 - 22, of_record[index][1]
            if kind not in _BEATS or first < 0 or first + 50 > len(signal):
                continue
            beat = signal[first : first + 50]
            intervals = np.diff(at[index - 1 : index + 2]) / (_ECG_RATE_HZ * mean_s)
            beats.append((record, np.concatenate([beat - np.median(beat), intervals]), _BEATS.index(kind)))
    return beats
