"""Does rounding the frozen front's activations to 16 bits cost accuracy? Spoken digits, last block trained by the C.

    python bench/packed_activations.py --data DIR --rounds 2

The front is random (He initialisation) and never trained. Prints test accuracy after each round through the set.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lightsleeper.benchmarks.datasets import spoken_digits
from lightsleeper.device import Rule, compile_host, emit, read_network
from lightsleeper.device.networks import keyword_net, seeded
from lightsleeper.device.plan import device_plans

LAST_BLOCK = ("14", "16", "20")


def build() -> nn.Module:
    model = keyword_net(classes=10)
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    data = spoken_digits(options.data)
    x, y, test_x, test_y = (t.numpy() for t in (data.x_train, data.y_train, data.x_test, data.y_test))
    network = read_network(seeded(build, 0), torch.zeros(1, 1, 49, 10), loss="cross_entropy")
    for packed in (False, True):
        plan = next(device_plans(network, Rule(averaging="settle"), LAST_BLOCK, packed=packed))
        rng = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            device = compile_host(emit(plan, name="net"), Path(folder))
            for turn in range(1, options.rounds + 1):
                for i in rng.permutation(len(x)):
                    device.train_step(x[i], y[i])
                weights = device.average()
                right = [device.infer(a, weights=weights).argmax() == b for a, b in zip(test_x, test_y, strict=True)]
                print(
                    f"{'16 bits' if packed else 'float'}, round {turn}: accuracy {np.mean(right):.3f} of {len(right)}"
                )


if __name__ == "__main__":
    main()
