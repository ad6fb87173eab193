"""A benchmark as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from bpr_cli.benchmark.benchmark import Benchmark
from bpr_cli.benchmark.stages import StageTimes
from bpr_cli.benchmark.throughput import PLAIN, Throughput


def benchmark_tables(measured: Benchmark) -> Iterator[Table | str]:
    """What to print, in order."""
    stages = measured.stages
    yield (
        f"{measured.workload}: {stages.images} images, {stages.instances} instances, {stages.patches} patches\n"
        f"{measured.way}"
    )
    yield stage_table(stages)
    yield (
        f"bpr refine, stages overlapping: {stages.wall:.2f} s, {stages.images / stages.wall:.2f} images/s, "
        f"{stages.instances / stages.wall:.1f} instances/s, {stages.patches / stages.wall:.0f} patches/s; "
        f"network at work {100 * stages.seconds['network'] / stages.wall:.0f} % of the time"
    )
    if measured.engines:
        yield throughput_table(measured.engines, "the network alone")
    if measured.networks:
        yield throughput_table(measured.networks, "input sizes and networks")
    if measured.patches_by_threshold:
        table = Table("NMS threshold", "patches an image")
        for threshold, count in measured.patches_by_threshold.items():
            table.add_row(f"{threshold:g}", f"{count:.1f}")
        yield table
    yield "; ".join(f"{name} {value}" for name, value in measured.machine.items())


def stage_table(stages: StageTimes) -> Table:
    """Time of each stage by itself."""
    table = Table("stage", "ms/image", "ms/instance", "ms/patch", "share")
    total = sum(stages.seconds.values()) or 1.0
    for name, seconds in {**stages.seconds, "sum": total}.items():
        per = [1e3 * seconds / max(1, count) for count in (stages.images, stages.instances, stages.patches)]
        table.add_row(name, *(f"{value:.2f}" for value in per), f"{100 * seconds / total:.0f} %")
    return table


def throughput_table(trials: list[Throughput], title: str) -> Table:
    """Patches a second; where plain torch is among them, also how many times as fast."""
    plain = next((trial.seconds for trial in trials if trial.way == PLAIN), None)
    headings = ["way", "network", "input", "batch", "ms/patch", "patches/s"]
    table = Table(*headings, *(["times plain"] if plain else []), title=title)
    for trial in trials:
        cells = [trial.way, trial.network, str(trial.input_size), str(trial.batch_size)]
        cells += [f"{1e3 * trial.seconds:.2f}", f"{1 / trial.seconds:.0f}"]
        table.add_row(*cells, *([f"{plain / trial.seconds:.1f}"] if plain else []))
    return table
