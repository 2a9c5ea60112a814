"""Generated C under the address and undefined-behaviour sanitizers, with inputs of any bits."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from device_build import sanitizing
from device_trial import trial
from lightsleeper.device import Plan, Rule, emit, plan_device
from lightsleeper.device.networks import NETWORKS
from lightsleeper.device.plan import device_plans

FUZZ = """
#include "net.h"
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    net_state *s = malloc(sizeof *s);
    float *x = malloc(sizeof(float) * NET_INPUTS), *y = malloc(sizeof(float) * NET_OUTPUTS);
    float *target = malloc(sizeof(float) * NET_OUTPUTS), *average = malloc(sizeof(float) * NET_PARAMETERS);
    int32_t label;
    int took = 0, skipped = 0;
    FILE *file = fopen("fuzz.bin", "rb");
    net_init(s);
    while (fread(x, sizeof(float), NET_INPUTS, file) == NET_INPUTS &&
           fread(target, sizeof(float), NET_OUTPUTS, file) == NET_OUTPUTS &&
           fread(&label, sizeof label, 1, file) == 1) {
        const int result = net_train_step(s, x, TARGET);
        took += result >= 0;
        skipped += result < 0;
        net_infer(s, x, y);
        (void)label;
        (void)target;
    }
    net_average(s, average);
    printf("%d %d %u\\n", took, skipped, (unsigned)s->skipped);
    fclose(file);
    free(s);
    free(x);
    free(y);
    free(target);
    free(average);
    return 0;
}
"""
FLAGS = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fno-sanitize-recover=all"]
RULES = [
    Rule(period=4, batch=3, momentum=0.5),
    Rule(averaging="settle"),
    Rule(averaging="pwalks", of="periods", period=3, last=2),
    Rule(averaging="pswm", period=3),
    Rule(averaging="settle", anchor="flash"),
]


def _fuzz(name: str, rows: int) -> tuple[bytes, int]:
    """Rows of inputs, targets and a label; how many of them are fit to be taken, at most."""
    network = trial(name)[1]
    rng = np.random.default_rng(7)
    width = network.inputs + network.outputs
    bits = rng.integers(0, 1 << 32, (rows, width), dtype=np.uint64).astype(np.uint32)
    values = (rng.standard_normal((rows, width)) * 10.0 ** rng.integers(-38, 38, (rows, 1))).astype(np.float32)
    gentle = rng.random((rows, width)).astype(np.float32)
    wild = np.where(rng.random((rows, 1)) < 0.3, bits, values.view(np.uint32))
    numbers = np.where(rng.random((rows, 1)) < 0.5, gentle.view(np.uint32), wild)
    labels = rng.integers(-2, network.outputs + 2, (rows, 1)).astype(np.int32).view(np.uint32)
    return np.concatenate([numbers, labels], axis=1).tobytes(), int((numbers == gentle.view(np.uint32)).all(1).sum())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_any_input_is_taken_or_counted(name: str, compiler: str, tmp_path: Path) -> None:
    network = trial(name)[1]
    rule = RULES[sorted(NETWORKS).index(name) % len(RULES)]
    plans = list(device_plans(network, rule))
    _check(name, plans[-1] if compiler == "clang" else plan_device(network, rule), compiler, tmp_path)


@pytest.mark.parametrize("rule", RULES)
def test_any_input_is_taken_or_counted_where_activations_are_packed(rule: Rule, tmp_path: Path) -> None:
    plan = next(device_plans(trial("front_and_block")[1], rule, ["5", "7", "11"], packed=True))
    _check("front_and_block", plan, "gcc", tmp_path)


def _check(name: str, plan: Plan, compiler: str, tmp_path: Path) -> None:
    network = trial(name)[1]
    files = emit(plan, name="net").write(tmp_path)
    data, gentle = _fuzz(name, 120)
    (tmp_path / "fuzz.bin").write_bytes(data)
    target = "target" if network.loss == "mse" else "label"
    (tmp_path / "fuzz.c").write_text(FUZZ.replace("(s, x, TARGET)", f"(s, x, {target})"))
    checks = "-fsanitize=address,undefined,float-cast-overflow"
    command = [sanitizing(compiler), *FLAGS, checks, "fuzz.c", *files, "-o", "fuzz", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(["./fuzz"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    took, skipped, counted = map(int, done.stdout.split())
    assert took + skipped == 120
    assert counted == skipped
    assert took > 0
    assert skipped > 0
    assert gentle > 0
