"""`effnetv2 bench`: what the networks and the loader cost here, beside timm's and torchvision's."""

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from effnetv2.errors import InputError

if TYPE_CHECKING:
    from effnetv2.bench.table import Table
    from effnetv2.train.machine import Machine

BENCHES = {
    "step": "one training step, beside the peers' under every setting they offer",
    "infer": "inference, the same way",
    "loader": "training batches, beside torchvision's ImageFolder and transforms",
    "family": "step and inference of V1, V2 and the networks of the paper's Table 7",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    benches = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    found = {n: benches.add_parser(n, help=w, description=f"Time {w}.") for n, w in BENCHES.items()}
    for name, side, batch, model in (
        ("step", (128,), (32,), ("v2-b0", "v2-s")), ("infer", (224,), (1, 32), ("v2-b0", "v2-s")),
    ):  # fmt: skip
        add = found[name].add_argument
        add("--model", nargs="+", default=model, help=f"networks ({_said(model)})")
        add("--side", nargs="+", type=int, default=side, help=f"pixels ({_said(side)})")
        add(
            "--batch", nargs="+", type=int, default=batch, help=f"pictures a batch ({_said(batch)})"
        )
        add("--rounds", type=int, default=9, help="times that each is timed (9)")
        add("--warmup", type=int, default=2, help="and run before (2)")
        add("--precision", nargs="+", choices=("fp32", "bf16"),
            help="only these (both; where a CPU has no bf16 instructions, fp32)")  # fmt: skip
        add("--compile", action="store_true", help="also compiled: takes minutes a network")
        add("--no-memory", action="store_true", help="leave out the peaks of memory")
    found["step"].add_argument(
        "--drop-path", type=float, default=0.0, help="stochastic depth, the same for all (0)"
    )
    add = found["loader"].add_argument
    add("--data", nargs="+", help="folders of class folders (photographs made for it)")
    add("--side", type=int, default=128, help="pixels (128)")
    add("--batch", type=int, default=32)
    add("--workers", type=int, default=2, help="loader processes, of each loader (2)")
    add("--rounds", type=int, default=5)
    add("--pictures", type=int, default=256, help="timed in each round (256)")
    add("--augment", default="photo", help="whose crops and flips: photo, imagenet, … (photo)")
    add("--step", metavar="MODEL", help="also a training step of it: does the loader keep up?")
    add = found["family"].add_argument
    add("--model", nargs="+", default=(), help="only these, such as v2-s or NFNet-F0")
    add("--batch", type=int, help="pictures of inference (16, as Table 7; quick: 2)")
    add("--step-batch", type=int, help="pictures of a training step (8; quick: 2)")
    add("--rounds", type=int, help="times that each is timed (3; quick: 1)")
    add("--quick", action="store_true", help="the smaller networks, small batches, one round")
    for bench in found.values():
        bench.add_argument("--device", default="auto")
        bench.add_argument("--json", nargs="?", const="-", metavar="FILE",
                           help="print all as JSON, or write it to FILE")  # fmt: skip
        bench.add_argument("--picture", metavar="FILE.svg", help="draw it")


def _said(values: Sequence[object]) -> str:
    return " ".join(map(str, values))


def run(args: argparse.Namespace) -> int:
    """Time, then print a table or JSON."""
    if args.picture and not args.picture.endswith(".svg"):
        raise InputError(f"--picture {args.picture}: write it as FILE.svg")
    for file in filter(None, (args.picture, args.json)):
        if not Path(file).absolute().parent.is_dir():
            raise InputError(f"{file}: no folder {Path(file).parent}; make it first")
    from effnetv2.train.machine import Machine

    machine = Machine.choose(args.device)
    do = {"step": _compared, "infer": _compared, "loader": _loaded, "family": _family}
    result, tables, picture = do[args.bench](args, machine)
    _tell(args, machine, result, tables, picture)
    return 0


def _compared(args: argparse.Namespace, machine: "Machine") -> tuple[Any, "list[Table]", str]:
    from effnetv2.arch.named import network
    from effnetv2.bench import figures, summary
    from effnetv2.bench.compare import How, compare, turns
    from effnetv2.bench.contenders import contenders
    from effnetv2.bench.settings import settings
    from effnetv2.bench.watch import watching
    from effnetv2.config import to_data

    how = How(
        device=machine.device,
        settings=settings(_precisions(args, machine), compile=args.compile),
        rounds=args.rounds,
        warmup=args.warmup,
        drop_path=getattr(args, "drop_path", 0.0),
        memory=not args.no_memory,
    )
    work = [(network(m), side, batch)
            for m in args.model for side in args.side for batch in args.batch]  # fmt: skip
    total = sum(turns(len(list(contenders(net, how.settings, []))), how) for net, _, _ in work)
    with watching(total) as tell:
        cases = [compare(args.bench, net, side, batch, how, tell) for net, side, batch in work]
    picture = figures.of_cases(cases) if args.picture else ""
    return {"cases": [to_data(c) for c in cases]}, [summary.of_case(c) for c in cases], picture


def _loaded(args: argparse.Namespace, machine: "Machine") -> tuple[Any, "list[Table]", str]:
    from effnetv2.arch.named import network
    from effnetv2.bench import figures, summary
    from effnetv2.bench.loading import LoaderHow, compare_loaders, turns
    from effnetv2.bench.photographs import SIZES, photographs
    from effnetv2.bench.settings import Setting
    from effnetv2.bench.watch import watching
    from effnetv2.config import to_data
    from effnetv2.train.recipes import augmentation

    if min(args.batch, args.pictures) < 1:
        raise InputError("--batch and --pictures must be at least 1")
    how = LoaderHow(
        side=args.side, batch=args.batch, workers=args.workers, rounds=args.rounds,
        batches=max(1, args.pictures // args.batch), augmentation=augmentation(args.augment),
    )  # fmt: skip
    step = network(args.step) if args.step else None
    setting = Setting(_precisions(args, machine)[-1], channels_last=True)
    count = len(args.data) if args.data else len(SIZES)
    total = count * turns(how, step=step is not None) + (0 if args.data else count)
    own = nullcontext() if args.data else TemporaryDirectory(prefix="effnetv2-bench-")
    with own as made, watching(total) as tell:
        folders = [Path(d) for d in args.data or ()] or [
            photographs(Path(str(made)), size, args.pictures, tell) for size in SIZES
        ]
        cases = [
            compare_loaders(f, how, tell, step=step, setting=setting, device=machine.device)
            for f in folders
        ]
    picture = figures.of_loading(cases) if args.picture else ""
    return {"cases": [to_data(c) for c in cases]}, [summary.of_loading(c) for c in cases], picture


def _family(args: argparse.Namespace, machine: "Machine") -> tuple[Any, "list[Table]", str]:
    from effnetv2.bench import figures, summary
    from effnetv2.bench.family import FamilyHow, entries, measure, turns
    from effnetv2.bench.settings import Setting
    from effnetv2.bench.watch import watching
    from effnetv2.config import to_data

    usual = (1, 2, 2) if args.quick else (3, 16, 8)
    asked = (args.rounds, args.batch, args.step_batch)
    rounds, batch, step_batch = (
        default if given is None else given for given, default in zip(asked, usual, strict=True)
    )
    how = FamilyHow(
        device=machine.device, setting=Setting(_precisions(args, machine)[-1], channels_last=True),
        rounds=rounds, infer_batch=batch, step_batch=step_batch,
    )  # fmt: skip
    left_out: list[str] = []
    chosen = entries(args.model, quick=args.quick, left_out=left_out)
    with watching(turns(len(chosen), how)) as tell:
        found = measure(chosen, how, left_out, tell)
    picture = figures.of_family(found) if args.picture else ""
    return to_data(found), list(summary.of_family(found)), picture


def _precisions(args: argparse.Namespace, machine: "Machine") -> list[Any]:
    """Return the precisions to time, the fastest last."""
    import torch

    if getattr(args, "precision", None):
        return sorted(set(args.precision), reverse=True)
    return ["fp32", "bf16"] if machine.precision == torch.bfloat16 else ["fp32"]


def _tell(
    args: argparse.Namespace,
    machine: "Machine",
    result: Any,
    tables: "Sequence[Table]",
    picture: str,
) -> None:
    from effnetv2.bench.about import about

    whole = json.dumps(about(args.bench, machine) | result, indent=1)
    if args.picture:
        Path(args.picture).write_text(picture, encoding="utf-8")
    if args.json == "-":
        print(whole)
        return
    if args.json:
        Path(args.json).write_text(whole + "\n", encoding="utf-8")
    for table in tables:
        table.show()
    for file in filter(None, (args.json, args.picture)):
        print(f"written  {file}")
