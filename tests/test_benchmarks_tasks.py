"""Tasks: shapes, splits, networks; the data folder."""

from pathlib import Path

import pytest
import torch

from lightsleeper.benchmarks import networks
from lightsleeper.benchmarks.scoring import evaluate
from lightsleeper.benchmarks.tasks import HEADLINE, TASKS, chosen_tasks, data_folder, load, task_named
from lightsleeper.errors import InputError

SIZES = {
    "digits": (1200, 597, 2410),
    "activity": (7415, 2996, 2534),
    "fashion_mlp": (10_000, 2000, 13_258),
    "fashion_ds_cnn": (10_000, 2000, 2570),
    "small_images": (10_000, 2500, 10_218),
    "spoken_digits": (2700, 300, 2914),
    "ecg_beats": (2991, 3166, 2476),
    "ecg_anomaly": (8000, 3999, 1814),
}


def check(name: str, folder: Path | None) -> None:
    task, data = TASKS[name], load(name, folder)
    network = task.network()
    weights = sum(p.numel() for p in network.parameters())
    assert (len(data.x_train), len(data.x_test), weights) == SIZES[name]
    assert data.x_train.dtype == torch.float32
    assert data.y_train.dtype == torch.int64
    assert data.x_train.shape[1:] == data.x_test.shape[1:]
    for values in (data.x_train, data.x_test):
        assert bool(torch.isfinite(values).all())
    assert abs(float(data.x_train.mean())) < 0.05
    assert float(data.x_train.std()) == pytest.approx(1, abs=0.1)
    assert set(data.y_test.tolist()) == set(range(data.classes))
    assert data.in_order == task.in_order
    assert 0 <= evaluate(task.score, network, data.x_test, data.y_test, classes=data.classes) <= 1
    shared = {tuple(row) for row in data.x_test.flatten(1).tolist()} & {
        tuple(row) for row in data.x_train.flatten(1).tolist()
    }
    assert len(shared) <= 0.001 * len(data.x_test)


def test_digits_need_no_folder():
    check("digits", None)
    assert [task.name for task in chosen_tasks(None, None)] == ["digits"]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", [name for name in TASKS if name != "digits"])
def test_tasks_of_the_data_folder(name: str, data_dir: Path):
    check(name, data_dir)


def test_headline_tasks_are_the_default_with_a_folder(tmp_path: Path):
    assert tuple(task.name for task in chosen_tasks(None, tmp_path)) == HEADLINE


def test_unknown_task_lists_the_known_ones():
    with pytest.raises(InputError, match="no task 'mnist': choose from digits, activity") as caught:
        task_named("mnist")
    assert all(name in str(caught.value) for name in TASKS)


def test_a_task_without_its_data_says_where_to_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="--data or LIGHTSLEEPER_DATA"):
        chosen_tasks(["activity"], None)
    for name in ("activity", "fashion_mlp", "small_images", "spoken_digits", "ecg_beats"):
        with pytest.raises(InputError, match=f"{tmp_path}.*no such file"):
            TASKS[name].read(tmp_path)
    monkeypatch.delenv("LIGHTSLEEPER_DATA", raising=False)
    assert data_folder(None) is None
    monkeypatch.setenv("LIGHTSLEEPER_DATA", str(tmp_path))
    assert data_folder(None) == tmp_path
    with pytest.raises(InputError, match="no such folder"):
        data_folder(tmp_path / "none")


def test_steps_grow_as_batches_shrink():
    task = TASKS["fashion_mlp"]
    assert task.steps_at(task.batch) == task.steps
    assert task.steps_at(4) == 2 * task.steps
    assert task.steps_at(1) == 3 * task.steps
    assert task.steps_at(64) == task.steps // 2


@pytest.mark.parametrize(
    ("network", "shape", "outputs"),
    [
        (networks.mlp(6, 5, 3), (4, 2, 3), (4, 3)),
        (networks.autoencoder(9, 4, 2), (4, 9), (4, 9)),
        (networks.ds_cnn(classes=7, first=(10, 4), channels=(8, 4)), (2, 1, 49, 10), (2, 7)),
        (networks.convolutional(classes=5), (2, 3, 16, 16), (2, 5)),
        (networks.gru(inputs=3, hidden=4, classes=2), (5, 6, 3), (5, 2)),
    ],
)
def test_networks_keep_their_shapes(network, shape, outputs):
    assert network(torch.randn(shape)).shape == outputs
    assert isinstance(network, torch.nn.Module)
    assert not list(network.buffers())
