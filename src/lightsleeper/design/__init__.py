"""Spec in, designed and measured always-on sensor out: the main job and its parts."""

from lightsleeper.design.firmware import export_c
from lightsleeper.design.main_job import design_into, evaluate_design
from lightsleeper.design.manufacture import measure_yield
from lightsleeper.design.measure import Design
from lightsleeper.design.progress import Progress, Silent
from lightsleeper.design.run_folder import new_run
from lightsleeper.design.spec import Spec, load_spec
from lightsleeper.design.storage import load_design, load_summary
from lightsleeper.design.verbs import power_of, simulate_sound
from lightsleeper.design.verify import verify_design
from lightsleeper.design.yield_figures import YieldSettings

__all__ = [
    "Design",
    "Progress",
    "Silent",
    "Spec",
    "YieldSettings",
    "design_into",
    "evaluate_design",
    "export_c",
    "load_design",
    "load_spec",
    "load_summary",
    "measure_yield",
    "new_run",
    "power_of",
    "simulate_sound",
    "verify_design",
]
