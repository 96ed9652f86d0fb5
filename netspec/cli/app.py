"""The commands and their options; what they do is in the neighbouring files, imported when called."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="netspec",
    help="Neural networks written down in YAML with torch.nn's names: checked, shaped and run without a framework.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """Renderings of diagnostics."""

    text = "text"
    json = "json"
    github = "github"


class TableFormat(StrEnum):
    """Renderings of tables."""

    table = "table"
    json = "json"
    markdown = "markdown"


class BenchFormat(StrEnum):
    """Renderings of a measurement."""

    table = "table"
    json = "json"


class Kind(StrEnum):
    """Files that have a schema."""

    network = "network"
    runner = "runner"


class Dtype(StrEnum):
    """Types that a network can run in."""

    float16 = "float16"
    float32 = "float32"
    float64 = "float64"
    bfloat16 = "bfloat16"
    complex64 = "complex64"
    complex128 = "complex128"


class Precision(StrEnum):
    """How exact float32 has to be."""

    high = "high"
    highest = "highest"


class Mode(StrEnum):
    """Behaviour of BatchNorm, Dropout and RReLU."""

    eval = "eval"
    train = "train"


def _version(show: bool) -> None:
    if show:
        from netspec import __version__

        print(f"netspec {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Network files (or run profiles).", metavar="FILE...")],
    weights: Annotated[Path | None, typer.Option(help="A checkpoint that must fit the network.")] = None,
    format: Annotated[Format, typer.Option(help="How to print what was found.")] = Format.text,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again whenever a file changes; ctrl-C ends.")
    ] = False,
    only_networks: Annotated[
        bool,
        typer.Option("--only-networks", help="Pass over YAML files that are no network and no run profile."),
    ] = False,
) -> None:
    """Check files: every error in every file, with line and column."""
    if watch:
        from netspec.cli.watch import watch as check
    else:
        from netspec.cli.validate import run_validate as check
    raise typer.Exit(check(files, weights, format.value, only_networks))


@app.command()
def shapes(
    file: Annotated[Path, typer.Argument(help="A network file.", metavar="FILE")],
    input: Annotated[
        list[str] | None, typer.Option(help="Shape of an input, such as 1,3,224,224.", metavar="[NAME=]SHAPE")
    ] = None,
    format: Annotated[TableFormat, typer.Option(help="How to print it.")] = TableFormat.table,
) -> None:
    """Show every layer's output shape, parameters, multiply-adds and memory, and the sizes that are allowed."""
    from netspec.cli.shapes import run_shapes

    run_shapes(file, input or [], format.value)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="A network file.", metavar="FILE")],
    input: Annotated[
        list[str] | None,
        typer.Option(
            help=".npy, .npz, .parquet, a picture, a folder or a quoted glob of them; NAME= where there are "
            "several inputs.",
            metavar="[NAME=]PATH",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint: .safetensors, .npz, .pt or .pth.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Where to write: .npy, .npz, or .png for a picture of the output or of the tapped layer's "
            "maps; a folder (out/, out/*.parquet) for shards, which a later run resumes; - is standard output. "
            "Default: output.npy, .npz for several.",
            metavar="PATH",
        ),
    ] = None,
    tap: Annotated[
        list[str] | None, typer.Option(help="Also write this layer's output.", metavar="LAYER")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Compute only this output; inputs that it does not need may be left out.", metavar="OUTPUT"
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Type of parameters and floating inputs.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="highest: only exact forms of float32.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Rows of the first axis to run at a time.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads in all; default: the processors that this process may use."),
    ] = None,
    autotune: Annotated[
        bool | None, typer.Option(help="Measure the forms of convolutions once and remember the fastest.")
    ] = None,
    jit: Annotated[
        bool | None, typer.Option(help="Compiled kernels where there are any (extra jit).")
    ] = None,
    mode: Annotated[Mode, typer.Option(help="train: batch statistics and dropout.")] = Mode.eval,
    seed: Annotated[int, typer.Option(min=0, help="Of random weights and of dropout.")] = 0,
    runner: Annotated[Path | None, typer.Option(help="A run profile; flags win over it.")] = None,
) -> None:
    """Run a network on arrays or pictures and write its outputs."""
    if device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise typer.BadParameter(f"expected cpu, cuda or cuda:N, got {device}", param_hint="--device")
    from netspec.cli.run import Options, run_network

    run_network(
        Options(
            file=file,
            inputs=tuple(input or ()),
            weights=weights,
            output=output,
            taps=tuple(tap or ()),
            only=tuple(only or ()),
            device=device,
            dtype=dtype.value if dtype else None,
            precision=precision.value if precision else None,
            batch_size=batch_size,
            threads=threads,
            autotune=autotune,
            jit=jit,
            mode=mode.value,
            seed=seed,
            runner=runner,
        )
    )


@app.command()
def bench(
    file: Annotated[Path, typer.Argument(help="A network file.", metavar="FILE")],
    input: Annotated[
        list[str] | None, typer.Option(help="Shape of an input, such as 1,3,224,224.", metavar="[NAME=]SHAPE")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Runtimes to measure beside it: torch, onnxruntime.", metavar="NAMES")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of everybody; default: all.")] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Seconds that each runtime is timed.")] = 2.0,
    runs: Annotated[int | None, typer.Option(min=1, help="Calls to time, in place of --seconds.")] = None,
    warmup: Annotated[int, typer.Option(min=0, help="Calls that are not timed at first.")] = 3,
    layers: Annotated[bool, typer.Option("--layers", help="Also the time of each layer.")] = False,
    alone: Annotated[
        bool,
        typer.Option(help="Also each runtime in a process of its own: peak memory, and its time there."),
    ] = True,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Allowed difference of outputs, as a part of the largest value.")
    ] = 1e-3,
    format: Annotated[BenchFormat, typer.Option(help="How to print it.")] = BenchFormat.table,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the layers' times as bars.", metavar="SVG")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint; default: the file's, else drawn ones.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Type of parameters and floating inputs.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="highest: only exact forms of float32.")] = None,
    autotune: Annotated[
        bool | None, typer.Option(help="Measure the forms of convolutions once and remember the fastest.")
    ] = None,
    jit: Annotated[
        bool | None, typer.Option(help="Compiled kernels where there are any (extra jit).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="For drawn inputs and weights.")] = 0,
    runner: Annotated[Path | None, typer.Option(help="A run profile; flags win over it.")] = None,
) -> None:
    """Measure a network: latency, throughput, time by layer, peak memory; side by side with other runtimes."""
    from netspec.cli.bench import Options, run_bench

    run_bench(
        Options(
            file, tuple(input or ()), against, threads, seconds, runs, warmup, layers, alone, tolerance,
            format.value, picture, weights, device, dtype.value if dtype else None,
            precision.value if precision else None, seed, runner, autotune, jit,
        )
    )  # fmt: skip


@app.command()
def schema(
    kind: Annotated[Kind, typer.Option(help="Which files it is for.")] = Kind.network,
    output: Annotated[Path | None, typer.Option(help="Where to write; default: standard output.")] = None,
) -> None:
    """Write the JSON Schema for editors."""
    from netspec.cli.reference import run_schema

    run_schema(kind.value, output)


@app.command()
def layers(
    type: Annotated[str | None, typer.Argument(help="A layer type.", metavar="[TYPE]")] = None,
) -> None:
    """Show the layer types, or one type's parameters, shapes and an example."""
    from netspec.cli.reference import run_layers

    run_layers(type)


@app.command()
def serve(
    files: Annotated[list[Path], typer.Argument(help="Network files.", metavar="FILE...")],
    runner: Annotated[Path | None, typer.Option(help="A run profile; flags win over it.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; default: 8000; 0: a free one.")
    ] = None,
) -> None:
    """Serve networks over HTTP, by the Open Inference Protocol v2, until a signal."""
    from netspec.cli.serve import run_serve

    raise typer.Exit(run_serve(files, runner, host, port))


@app.command()
def lsp(
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Accepted for editors that say so; the only way.")
    ] = True,
) -> None:
    """Serve editors: the Language Server Protocol on standard input and output."""
    from netspec.cli.lsp import run_lsp

    run_lsp()


# --- weights ----------------------------------------------------------------------------------------

weights_app = typer.Typer(
    help="Look into a checkpoint, compare it with a network, convert it. Pickled code is never run.",
    no_args_is_help=True,
)
app.add_typer(weights_app, name="weights")

Checkpoint = Annotated[
    Path, typer.Argument(help="A checkpoint: .safetensors, .npz, .pt or .pth.", metavar="CKPT")
]


class InspectFormat(StrEnum):
    """Renderings of a checkpoint's contents."""

    table = "table"
    json = "json"


class CheckFormat(StrEnum):
    """Renderings of a comparison."""

    text = "text"
    json = "json"


@weights_app.command()
def inspect(
    checkpoint: Checkpoint,
    format: Annotated[InspectFormat, typer.Option(help="How to print it.")] = InspectFormat.table,
    stats: Annotated[bool, typer.Option("--stats", help="Also min, max and mean of every tensor.")] = False,
) -> None:
    """Show a checkpoint's tensors: name, shape, dtype, and the totals."""
    from netspec.cli.weights import run_inspect

    run_inspect(checkpoint, format.value, stats)


@weights_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A network file.", metavar="NET")],
    checkpoint: Checkpoint,
    format: Annotated[CheckFormat, typer.Option(help="How to print it.")] = CheckFormat.text,
) -> None:
    """Compare a checkpoint with a network: missing, unexpected and wrong arrays, and likely renames."""
    from netspec.cli.weights import run_check

    raise typer.Exit(run_check(file, checkpoint, format.value))


@weights_app.command()
def convert(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Argument(help="A .safetensors or .npz file to write.", metavar="OUT")],
    network: Annotated[
        Path | None,
        typer.Option("--for", help="A network file: names are brought to what it expects.", metavar="NET"),
    ] = None,
) -> None:
    """Write a checkpoint as .safetensors or .npz."""
    from netspec.cli.weights import run_convert

    raise typer.Exit(run_convert(checkpoint, output, network))
