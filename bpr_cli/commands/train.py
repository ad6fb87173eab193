"""`bpr train`: its options, and what it prints."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from bpr_cli.commands.options import (
    INPUT,
    PATH,
    SPEED,
    Device,
    Quiet,
    console,
    print_error,
)
from bpr_cli.processes import is_leading, one_voice_a_machine


def _run_folder(context: typer.Context, output: str | None) -> str:
    from bpr_cli.training.numbered_runs import choose_run

    with one_voice_a_machine():
        return str(choose_run(bool(context.params.get("resume")))) if output is None else output


def train(
    patches: Annotated[
        list[str],
        typer.Option(help="Folder of shards (bpr extract); repeat for more.", metavar=PATH, rich_help_panel=INPUT),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the run.  [dim]\\[default: runs/ and the next number; with --resume the last one][/]",
            callback=_run_folder,
            show_default=False,
            metavar=PATH,
            rich_help_panel=INPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run that is there.", is_eager=True, rich_help_panel=INPUT),
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(help="Model whose weights to begin from; default: random.", rich_help_panel=INPUT),
    ] = None,
    recipe: Annotated[Literal["default", "paper"], typer.Option(help="Where all that is not given comes from.")] = (
        "default"
    ),
    network: Annotated[
        Literal["hrnet-w18-small", "hrnet-w18", "hrnet-w32", "hrnet-w48"] | None,
        typer.Option(help="Default: that of --init, or of the recipe.", show_default=False),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.", show_default=False, min=1)] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Patches a step, over all processes.", show_default=False, min=2)
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default=False, min=0.0)] = None,
    input_size: Annotated[
        int | None,
        typer.Option(
            help="Side to which patches are enlarged, px. Default: that of --init, or of the network.",
            show_default=False,
            min=32,
        ),
    ] = None,
    mask_patch: Annotated[
        bool | None,
        typer.Option(
            "--mask-patch/--no-mask-patch",
            help="Without, the network sees the photo alone: an ablation. Default: as --init has it, else with.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Weights, order, augmentation.", show_default=False, min=0)] = None,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.", rich_help_panel=SPEED, min=1)] = 500,
    save_every: Annotated[int, typer.Option(help="Steps between saved states.", rich_help_panel=SPEED, min=1)] = 250,
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        typer.Option(
            help="auto takes what the device surely gains from; fp16 (CUDA) scales the loss.", rich_help_panel=SPEED
        ),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that read patches.",
            show_default="1; with a GPU one for each core, 8 at most",
            rich_help_panel=SPEED,
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard events.", rich_help_panel=INPUT)
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a refiner on patches.

    [bold]bpr train[/] --patches shards/

    [bold]bpr train[/] --patches shards/ -o runs/first

    [bold]bpr train[/] --patches s3://bucket/shards/ -o runs/first

    [bold]torchrun --nproc-per-node 4 -m bpr_cli train[/] --patches shards/ -o runs/first

    What --network to --seed leave out is as the recipe has it. Killed, it goes on with --resume and the
    same options.
    """
    from bpr_cli.network.checkpoint import load_config
    from bpr_cli.training.recipe import choose_recipe
    from bpr_cli.training.train import TrainingDivergedError
    from bpr_cli.training.train import train as run

    assert output is not None  # by `_run_folder`
    with one_voice_a_machine():
        start = None if init is None else load_config(init)
        chosen = choose_recipe(
            recipe,
            start,
            network=network,
            steps=steps,
            batch_size=batch_size,
            lr=lr,
            input_size=input_size,
            mask_patch=mask_patch,
            seed=seed,
        )
    try:
        summary = run(
            patches,
            output,
            chosen,
            init=init,
            device=device,
            precision=precision,
            workers=workers,
            validate_every=validate_every,
            save_every=save_every,
            resume=resume,
            tensorboard=tensorboard,
            quiet=quiet,
        )
    except TrainingDivergedError as error:
        print_error("training stopped", error)
        raise typer.Exit(1) from None
    if not is_leading():
        return
    if summary.best is not None:
        best = summary.best
        console.print(
            f"best at step {summary.best_step}: patch mIoU {best.miou:.4f} (coarse {best.coarse_miou:.4f}), "
            f"foreground IoU {best.foreground_iou:.4f}, loss {best.loss:.4f}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        f"weights, trained in {summary.precision} on {summary.device} -> {summary.weights}; use them with "
        f"--model {output}",
        highlight=False,
        soft_wrap=True,
    )
