"""How well every standalone block is followed by ngspice: the table of docs/blocks.md. A minute.

Example: python bench/blocks.py
"""

from lightsleeper.circuits import Process
from lightsleeper.circuits.spice import engine_version
from lightsleeper.circuits.spice.standalone_cases import CASES, verify_blocks

ANALYSES = ("AC", "noise", "transient")


def main() -> None:
    process = Process()
    found: dict[str, dict[str, list[float]]] = {name: {kind: [] for kind in ANALYSES} for name in CASES}
    missed = []
    for row in verify_blocks(process):
        name = max((case for case in CASES if row.block.startswith(case)), key=len)
        found[name][row.analysis].append(row.error)
        if not row.passed:
            missed.append(row.block)
    print(f"{engine_version()}, {process.temperature_c:g} C")
    print("| block | AC, dB | noise, % | transient NRMSE, %, by peak of the input | power, nW | area, um2 |")
    print("|---|---|---|---|---|---|")
    for name, case in CASES.items():
        errors = found[name]
        by_level = ", ".join(
            f"{error:.2g} at {level * 1e3:g} mV"
            for error, level in zip(errors["transient"], case.levels_v, strict=True)
        )
        small = " | ".join(f"{errors[kind][0]:.1g}" if errors[kind] else "-" for kind in ("AC", "noise"))
        power_nw, area_um2 = case.block.power_w(process) * 1e9, case.block.area_mm2(process) * 1e6
        print(f"| {name} | {small} | {by_level} | {power_nw:.3g} | {area_um2:.0f} |")
    print(f"rows that miss their limit: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
