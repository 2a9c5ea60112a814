"""PyTorch networks read as chains of layers: what is known, what is refused and by which words."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightsleeper.device import Network, read_network
from lightsleeper.device.layers import Conv, Gru, Linear, Pool
from lightsleeper.device.networks import NETWORKS, keyword_net, seeded
from lightsleeper.errors import InputError


def _read(*layers: nn.Module, shape: tuple[int, ...] = (4,), loss: str = "mse") -> Network:
    return read_network(nn.Sequential(*layers).eval(), torch.zeros(1, *shape), loss=loss)  # type: ignore[arg-type]


def test_layers_shapes_and_activations() -> None:
    network = _read(
        nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
        shape=(2, 8, 8),
        loss="cross_entropy",
    )
    conv, pool, linear = network.layers
    assert isinstance(conv, Conv)
    assert isinstance(pool, Pool)
    assert isinstance(linear, Linear)
    assert (conv.input_shape, conv.output_shape, conv.activation) == ((2, 8, 8), (6, 4, 4), "relu")
    assert (pool.output_shape, pool.mode) == ((6, 2, 2), "max")
    assert (linear.inputs, linear.outputs, linear.activation) == (24, 3, "none")
    assert network.parameter_count == 6 * 9 + 6 + 24 * 3 + 3
    assert conv.macs == 6 * 9 * 16


def test_keyword_network_has_the_size_of_the_benchmark() -> None:
    network = read_network(keyword_net(), torch.zeros(1, 1, 49, 10), loss="cross_entropy")
    assert network.parameter_count == 22_604
    assert sum(layer.macs for layer in network.layers if layer.parameters) == pytest.approx(2.66e6, rel=0.01)


@pytest.mark.parametrize("take", ["last", "state", "all"])
def test_gru_outputs(take: str) -> None:
    class Taken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 5, batch_first=True)
            self.head = nn.Linear(35 if take == "all" else 5, 2)

        def forward(self, x: Tensor) -> Tensor:
            states, last = self.gru(x)
            taken = {"last": lambda: states[:, -1], "state": lambda: last[0], "all": lambda: torch.flatten(states, 1)}
            return self.head(taken[take]())  # type: ignore[no-any-return]

    gru, _ = read_network(Taken(), torch.zeros(1, 7, 3), loss="mse").layers
    assert isinstance(gru, Gru)
    assert gru.sequence == (take == "all")
    assert gru.output_shape == ((7, 5) if take == "all" else (5,))


def test_batch_norm_is_folded() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).eval()
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm1d)
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert values is not None
            values.uniform_(0.5, 2.0)
    conv = read_network(model, torch.zeros(1, 2, 6), loss="mse").layers[0]
    folded = nn.Conv1d(2, 3, 3)
    with torch.no_grad():
        folded.weight.copy_(torch.from_numpy(conv.parameters["weight"][:, :, 0]))
        folded.bias.copy_(torch.from_numpy(conv.parameters["bias"]))  # type: ignore[union-attr]
        x = torch.randn(4, 2, 6)
        torch.testing.assert_close(folded(x), model[:2](x))


def test_what_is_trained() -> None:
    trial = NETWORKS["conv1d"]
    network = read_network(seeded(trial.build, 0), torch.zeros(1, *trial.shape), loss=trial.loss)
    last = len(network.layers) - 1
    assert network.trained("last") == {(last, "weight"), (last, "bias")}
    assert {name for _, name in network.trained("biases")} == {"bias"}
    assert len(network.trained("biases")) == 3
    assert network.trained(["0"]) == {(0, "weight"), (0, "bias")}
    assert len(network.trained("all")) == 6
    with pytest.raises(InputError, match="no layer with weights is named 'body': choose from 0, 3, 7"):
        network.trained(["body"])
    with pytest.raises(InputError, match="names no layer"):
        network.trained([])


class _Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(x)
        return y + torch.tanh(y)


class _Deciding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class _Adding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


_SHARED = nn.Linear(4, 4)


@pytest.mark.parametrize(
    ("layers", "shape", "words"),
    [
        ([nn.Linear(4, 2), nn.Dropout(0.5)], (4,), "layer 1: Dropout is not known; put nn.Identity"),
        ([nn.LSTM(4, 2, batch_first=True)], (3, 4), "layer 0: LSTM is not known; use nn.GRU"),
        ([nn.Linear(4, 2), nn.Softmax(1)], (4,), "Softmax is not known; leave it out"),
        ([nn.Linear(4, 2), nn.GLU()], (4,), "GLU is not known; known are Linear, Conv1d"),
        ([nn.ReLU(), nn.Linear(4, 2)], (4,), "an activation stands before the first layer"),
        ([nn.Linear(4, 2), nn.ReLU(), nn.Tanh()], (4,), "two activations follow one another"),
        ([nn.Linear(4, 2)], (3, 4), "put nn.Flatten"),
        ([nn.Conv1d(4, 2, 3, dilation=2)], (4, 9), "dilation is not known"),
        ([nn.Conv1d(4, 2, 3, padding=1, padding_mode="circular")], (4, 9), "padding by circular"),
        ([nn.Conv1d(4, 2, 3, padding="same")], (4, 9), "padding 'same'"),
        ([nn.MaxPool1d(3, padding=1), nn.Flatten(), nn.Linear(12, 1)], (4, 9), "pooling over the edge"),
        ([nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(8, 1)], (4, 9), "does not divide"),
        ([nn.BatchNorm1d(4), nn.Linear(4, 1)], (4,), "BatchNorm is known directly behind"),
        ([nn.Linear(4, 2), nn.ReLU(), nn.BatchNorm1d(2)], (4,), "BatchNorm is known directly behind"),
        ([nn.Conv1d(4, 2, 3), nn.BatchNorm1d(2, track_running_stats=False)], (4, 9), "without running statistics"),
        ([nn.Linear(5, 2)], (4,), "does not take an example shaped (1, 4)"),
        ([nn.GRU(4, 2), nn.Identity()], (3, 4), "batch_first=True"),
        ([nn.Flatten(0), nn.Linear(12, 1)], (3, 4), "use nn.Flatten()"),
        ([_SHARED, _SHARED], (4,), "is used twice"),
        ([_Branching()], (4,), "an activation stands before|branches"),
        ([_Deciding()], (4,), "cannot be traced"),
        ([_Adding()], (4,), "the function add is not known"),
        ([nn.Flatten()], (4,), "no layer with weights"),
    ],
)
def test_what_is_not_known_is_named(layers: list[nn.Module], shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(").replace(")", r"\)")):
        _read(*layers, shape=shape)


@pytest.mark.parametrize(
    ("outputs", "loss", "words"),
    [
        (2, "hinge", "give cross_entropy, mse, binary_cross_entropy"),
        (2, "binary_cross_entropy", "needs one output"),
        (1, "cross_entropy", "needs two outputs"),
    ],
)
def test_losses(outputs: int, loss: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        _read(nn.Linear(4, outputs), loss=loss)


def test_logits_are_wanted_and_finite_weights_and_one_sample() -> None:
    with pytest.raises(InputError, match="takes logits: leave out the sigmoid"):
        _read(nn.Linear(4, 2), nn.Sigmoid(), loss="cross_entropy")
    broken = nn.Linear(4, 2)
    with torch.no_grad():
        broken.weight[0, 0] = np.nan
    with pytest.raises(InputError, match="layer 0: its weight holds NaN"):
        _read(broken)
    with pytest.raises(InputError, match="give one sample as a batch"):
        read_network(nn.Linear(4, 2), torch.zeros(2, 4), loss="mse")
