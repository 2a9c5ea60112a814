"""The package is useful alone: importing it brings torch and nothing of the rest of the house."""

import subprocess
import sys

import lightsleeper.averaging


def test_imports_with_torch_and_the_errors_alone() -> None:
    """Whatever torch itself brings is torch's; the rest must be of this package."""
    code = (
        "import sys, torch; before = set(sys.modules); import lightsleeper.averaging;"
        "print(*sorted({m for m in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought = done.stdout.split()
    assert "lightsleeper.averaging.periodic" in brought
    ours = {name for name in brought if name.startswith("lightsleeper.")}
    strangers = {name for name in ours if not name.startswith(("lightsleeper.averaging", "lightsleeper.errors"))}
    assert not strangers
    foreign = {name.split(".")[0] for name in set(brought) - ours} - set(sys.stdlib_module_names)
    assert foreign <= {"lightsleeper", "torch"}
    optional = {"lightsleeper.averaging.lightning", "lightsleeper.averaging.transformers", "lightning", "transformers"}
    heavy = {"numba", "scipy", "plotly", "joblib", "pydantic", "typer", "rich", "soundfile", "soxr", "safetensors"}
    assert not (optional | heavy) & set(brought)


def test_callbacks_are_offered_by_their_own_modules_only() -> None:
    assert "AveragedWeights" not in lightsleeper.averaging.__all__
