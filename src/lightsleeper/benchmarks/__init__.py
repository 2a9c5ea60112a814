"""Benchmarks against peers. It stands at the top of the house, over `report`, and only the command line imports it.

The averaging benchmark trains small networks by every method at every rate of its grid and over several seeds. A run
is added to a file as soon as it is finished, so a broken-off benchmark goes on where it stood. The device benchmark
runs generated C on emulated cores; the circuits benchmark times the simulator.
"""

from lightsleeper.benchmarks.averaging import bench_averaging, bench_cost
from lightsleeper.benchmarks.circuits import bench_circuits, circuit_tables
from lightsleeper.benchmarks.cost import extra_bytes
from lightsleeper.benchmarks.device import bench_device, device_tables, memory_maps
from lightsleeper.benchmarks.grid import on_cluster
from lightsleeper.benchmarks.printed import COST_HEADING, SUMMARY_HEADING, SUMMARY_NOTES, cost_tables, summary_tables
from lightsleeper.benchmarks.rivals import METHODS
from lightsleeper.benchmarks.scenarios import SCENARIOS
from lightsleeper.benchmarks.tables import summarise
from lightsleeper.benchmarks.tasks import HEADLINE, TASKS

__all__ = [
    "COST_HEADING",
    "HEADLINE",
    "METHODS",
    "SCENARIOS",
    "SUMMARY_HEADING",
    "SUMMARY_NOTES",
    "TASKS",
    "bench_averaging",
    "bench_circuits",
    "bench_cost",
    "bench_device",
    "circuit_tables",
    "cost_tables",
    "device_tables",
    "extra_bytes",
    "memory_maps",
    "on_cluster",
    "summarise",
    "summary_tables",
]
