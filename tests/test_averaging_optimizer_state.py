"""What becomes of the inner optimizer's own state at a write-back."""

import torch
from torch import nn

from lightsleeper.averaging import PSWA


def test_momentum_kept_reset_or_averaged() -> None:
    found = {}
    for state in ("keep", "reset", "average"):
        weight = nn.Parameter(torch.zeros(1))
        optimizer = PSWA(torch.optim.SGD([weight], lr=0.0, momentum=0.5), period=4, state=state)  # type: ignore[arg-type]
        for _ in range(4):
            weight.grad = torch.ones(1)
            optimizer.step()
        found[state] = optimizer.state.get(weight, {}).get("momentum_buffer")
    # velocities are 1, 1.5, 1.75, 1.875; the last half is sampled
    assert found["keep"].item() == 1.875
    assert found["reset"] is None
    assert found["average"].item() == (1.75 + 1.875) / 2


def test_averaged_state_leaves_step_counters_alone() -> None:
    model = nn.Linear(3, 2)
    optimizer = PSWA(torch.optim.AdamW(model.parameters(), lr=0.01), period=4, state="average")
    for _ in range(9):
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
    assert {state["step"].item() for state in optimizer.state.values()} == {9.0}
