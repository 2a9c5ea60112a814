"""Tasks of the averaging benchmark: a data set, a network, a batch size and a number of steps."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import nn

from lightsleeper.benchmarks import datasets, networks
from lightsleeper.benchmarks.datasets import Dataset
from lightsleeper.benchmarks.scoring import Score
from lightsleeper.errors import InputError

__all__ = ["HEADLINE", "TASKS", "Task", "chosen_tasks", "data_folder", "load", "task_named"]


@dataclass(frozen=True)
class Task:
    """One training problem.

    Attributes:
        name: how the command line calls it.
        title: for tables and plots.
        source: where the data come from.
        read: makes the data set from the data folder.
        network: makes a freshly drawn network.
        batch: examples in a batch.
        steps: batches in a run.
        run_s: seconds that a run takes on one core of a server, from measurement; for the estimate alone.
        score: what is measured on the test set.
        needs_folder: the data are in the data folder.
        in_order: the data stand in recording order, so that the scenario "ordered" means something.
    """

    name: str
    title: str
    source: str
    read: Callable[[Path], Dataset]
    network: Callable[[], nn.Module]
    batch: int
    steps: int
    run_s: float
    score: Score = "accuracy"
    needs_folder: bool = True
    in_order: bool = False

    def steps_at(self, batch: int) -> int:
        """Steps at another batch size: a smaller batch gets more, by the root of the ratio, and never over 3x."""
        return round(self.steps * min(math.sqrt(self.batch / batch), 3.0))


_FASHION = "Fashion-MNIST (Zalando, MIT)"
_ECG = "MIT-BIH Arrhythmia Database, de Chazal DS1 (PhysioNet, ODC-By 1.0)"

_ALL = (
    Task(
        name="digits",
        title="digits 8x8, MLP 64-32-10",
        source="scikit-learn's digits",
        read=lambda _: datasets.digits(),
        network=lambda: networks.mlp(64, 32, 10),
        batch=4,
        steps=3000,
        run_s=2.5,
        needs_folder=False,
    ),
    Task(
        name="activity",
        title="activity, 72 features, MLP 72-32-6",
        source="UCI 341, smartphone activities and transitions (CC BY 4.0)",
        read=datasets.activity_features,
        network=lambda: networks.mlp(72, 32, 6),
        batch=1,
        steps=6000,
        run_s=4.0,
        in_order=True,
    ),
    Task(
        name="fashion_mlp",
        title="Fashion 14x14, MLP 196-64-10",
        source=_FASHION,
        read=datasets.fashion_images,
        network=lambda: networks.mlp(196, 64, 10),
        batch=16,
        steps=4000,
        run_s=4.0,
    ),
    Task(
        name="fashion_ds_cnn",
        title="Fashion 14x14, DS-CNN",
        source=_FASHION,
        read=datasets.fashion_images,
        network=lambda: networks.ds_cnn(classes=10),
        batch=16,
        steps=3000,
        run_s=16.0,
    ),
    Task(
        name="small_images",
        title="small images 16x16, CNN",
        source="a part of CIFAR-10, 2x2 pooled (evaluation only)",
        read=datasets.small_images,
        network=lambda: networks.convolutional(classes=10),
        batch=16,
        steps=4000,
        run_s=14.0,
    ),
    Task(
        name="spoken_digits",
        title="spoken digits 49x10, DS-CNN",
        source="Free Spoken Digit Dataset (CC BY-SA 4.0)",
        read=datasets.spoken_digits,
        network=lambda: networks.ds_cnn(classes=10, first=(10, 4), channels=(24, 24, 24)),
        batch=16,
        steps=3000,
        run_s=18.0,
    ),
    Task(
        name="ecg_beats",
        title="ECG beats N/S/V/F, GRU",
        source=_ECG,
        read=datasets.ecg_beats,
        network=lambda: networks.gru(inputs=7, hidden=24, classes=4),
        batch=16,
        steps=3000,
        run_s=16.0,
        score="balanced accuracy",
    ),
    Task(
        name="ecg_anomaly",
        title="ECG: V beats by an autoencoder of normal beats, 50-16-4",
        source=_ECG,
        read=datasets.ecg_normal_beats,
        network=lambda: networks.autoencoder(50, 16, 4),
        batch=16,
        steps=3000,
        run_s=3.0,
        score="AUC",
        in_order=True,
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}
HEADLINE = ("digits", "activity", "fashion_mlp", "fashion_ds_cnn", "small_images")
"""The tasks that are run where none is named and the data folder is there; without it, digits alone."""


def task_named(name: str) -> Task:
    """A task by its name.

    Raises:
        InputError: there is none; lists the known ones.
    """
    if name not in TASKS:
        raise InputError(f"no task {name!r}: choose from {', '.join(TASKS)}")
    return TASKS[name]


def data_folder(given: Path | None) -> Path | None:
    """The folder given, else the one that LIGHTSLEEPER_DATA names, else None.

    Raises:
        InputError: the folder named does not exist.
    """
    value = os.environ.get("LIGHTSLEEPER_DATA", "")
    folder = given if given is not None else Path(value) if value else None
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --data (or LIGHTSLEEPER_DATA) must name the folder of recordings")
    return folder


def chosen_tasks(names: Sequence[str] | None, folder: Path | None) -> list[Task]:
    """The tasks named; without names the headline tasks, or what needs no folder where there is none.

    Raises:
        InputError: a task is unknown, or needs the data folder.
    """
    if names is None:
        return [task for name in HEADLINE if not (task := TASKS[name]).needs_folder or folder is not None]
    tasks = [task_named(name) for name in names]
    for task in tasks:
        if task.needs_folder and folder is None:
            raise InputError(f"task {task.name} needs recordings: name their folder with --data or LIGHTSLEEPER_DATA")
    return tasks


@lru_cache(maxsize=2)
def load(name: str, folder: Path | None) -> Dataset:
    """Data of a task; kept, since a worker runs many trainings of one task in a row."""
    return task_named(name).read(folder if folder is not None else Path())
