"""Train from scratch as a user would, over seeds; keep accuracy, time and curve as JSON.

    python benchmarks/accuracy.py elpv
    python benchmarks/accuracy.py mnist5k
    python benchmarks/accuracy.py imagenette --data ../shared/data/imagenette-160

Finished runs are kept under runs/benchmarks and not run again; a cut one goes on.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RUNS = Path("runs/benchmarks")


@dataclass(frozen=True)
class Benchmark:
    """What is trained, with which seeds and arguments, and what to know of it."""

    data: str
    seeds: tuple[int, ...]
    arguments: str = ""
    note: str = ""


# fmt: off
BENCHMARKS = {
    "elpv": Benchmark("elpv", (0, 1, 2),
        "--model mini --val 0 --epochs 70 --learning-rate 0.002 --set label_smoothing=0 "
        "--set progression.resolution=[160,224] --set progression.dropout=[0.1,0.1] "
        "--set progression.drop_path=[0,0] --set augmentation.area=[0.9,1]",
        "Test: 656 cells held back from 2,624, stratified; see docs/log.md for who looked when."),
    "mnist5k": Benchmark("mnist5k", (0,), "--val 0 --epochs 15 --batch-size 64",
        "Test: 1,000 of 5,000 digits, stratified."),
    "imagenette": Benchmark("imagenette-160", (0,),
        "--epochs 13 --batch-size 64 --set validate_every=2.6",
        "Imagenette's own 3,925 validation pictures; no choice was made by them in the run."),
}
# fmt: on


def train(folder: Path, arguments: list[str]) -> None:
    """Run the command line in a fresh process, or go on with what it left."""
    cut = (folder / "recipe.json").exists()
    what = ["--resume", str(folder)] if cut else [*arguments, "--to", str(folder)]
    subprocess.run([sys.executable, "-m", "effnetv2.cli.main", "train", *what], check=True)


def told(folder: Path, seed: int) -> dict[str, Any]:
    """Return what is kept of a finished run."""
    record = json.loads((folder / "record.json").read_text())
    parts = [folder / "evaluation" / f"{p}.json" for p in ("test", "val")]
    found = json.loads(next(p for p in parts if p.exists()).read_text())
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    kept = ("top1", "top1_interval", "macro_f1", "ece", "loss", "images", "split", "batch_norm")
    return {
        "seed": seed,
        "seconds": record["seconds"],
        "training_seconds": training_seconds(lines),
        **{k: found[k] for k in kept},
        "curve": [
            {k: round(x[k], 4) for k in ("epoch", "resolution", "loss", "top1")}
            for x in lines
            if x["kind"] == "val"
        ],
        "phases": record["phases"],
    }


def training_seconds(lines: list[dict[str, Any]]) -> float:
    """Return the time of the steps alone, without validations."""
    steps = [x for x in lines if x["kind"] == "train"]
    before = [0, *(x["step"] for x in steps)]
    return sum(
        (x["step"] - start) * x["batch_size"] / x["images_per_second"]
        for x, start in zip(steps, before, strict=False)
    )


def commit() -> str:
    """Return the commit that is checked out."""
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return answer.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description="From scratch, as a user would, over seeds.")
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--data", help="where the pictures are, if not a named set")
    args = parser.parse_args()
    bench = BENCHMARKS[args.name]
    data = args.data or bench.data
    rows, record = [], {}
    for seed in bench.seeds:
        folder = RUNS / f"{args.name}-{seed}"
        train(folder, [data, *shlex.split(bench.arguments), "--seed", str(seed)])
        rows.append(told(folder, seed))
        record = json.loads((folder / "record.json").read_text())
    top1 = [r["top1"] for r in rows]
    result = {
        "command": f"effnetv2 train {bench.data} {bench.arguments} --seed SEED",
        "note": bench.note,
        "commit": commit(),
        "versions": record["versions"],
        "hardware": record["hardware"],
        "n": len(rows),
        "top1_mean": statistics.mean(top1),
        "top1_sd": statistics.stdev(top1) if len(top1) > 1 else None,
        "seconds_mean": statistics.mean(r["seconds"] for r in rows),
        "runs": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{args.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{args.name}: {result['top1_mean']:.2%} over {len(rows)} seeds")


if __name__ == "__main__":
    main()
