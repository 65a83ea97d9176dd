"""Training time to a peer's best test accuracy: our default training against timm's.

    python benchmarks/time_to_accuracy.py --data ../shared/data/imagenette-160

Same training pictures (a fixed draw of every class), same test pictures, same architecture, same
batch, every run in a fresh process. A peer runs to its end and is tested after every epoch; the
target is the highest accuracy it reached, its time that of training up to there. Ours runs at
several lengths, shortest first; the first one whose only test, at its end, reaches the target
counts. Testing is not counted for anybody. Finished runs are kept under runs/benchmarks and not
run again: remove them to measure another commit.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accuracy import RESULTS, RUNS, commit, train, training_seconds
from peer import SETTINGS

PEER = Path(__file__).with_name("peer.py")
IMAGES = frozenset((".jpg", ".jpeg", ".png"))
SMOKE = {"per_class": 4, "test_per_class": 2, "seeds": [0], "peer_epochs": 1, "lengths": [1.0],
         "batch": 8, "side": 32, "workers": 0}  # fmt: skip


def main() -> None:
    args = parsed()
    runs = RUNS / f"time_to_accuracy-{args.per_class}x{args.batch}x{args.side}"
    data = drawn(Path(args.data), runs, args.per_class, args.test_per_class)
    peers: dict[str, list[dict[str, Any]]] = {setting: [] for setting in SETTINGS}
    ours: list[dict[str, Any]] = []
    for seed in args.seeds:
        for setting in SETTINGS:
            tried = [peer(data, runs, setting, rate, seed, args) for rate in args.peer_rates]
            peers[setting].append(max(tried, key=lambda run: float(run["target"])))
        highest = max(found[-1]["target"] for found in peers.values())
        ours += until(highest, data, runs, seed, args)
    result = {
        "command": " ".join(["python", "benchmarks/time_to_accuracy.py", *sys.argv[1:]]),
        "commit": commit(),
        "data": f"{Path(args.data).name}, {args.per_class} training pictures a class",
        "versions": ours[0]["versions"],
        "hardware": ours[0]["hardware"],
        "ratios": {
            f"timm tf_efficientnetv2_b0, {setting}": ratio(found, ours)
            for setting, found in peers.items()
        },
        "peers": peers,
        "ours": ours,
    }
    to = Path(args.to) if args.to else (runs if args.smoke else RESULTS) / "time_to_accuracy.json"
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(result, indent=1) + "\n")
    for name, found in result["ratios"].items():
        print(told(name, found))
    print(f"written {to}")


def parsed() -> argparse.Namespace:
    """Return what was asked for; --smoke makes everything as small as can be."""
    parser = argparse.ArgumentParser(description="Time to a peer's best test accuracy.")
    add = parser.add_argument
    add("--data", required=True, help="a folder with train/ and val/ of class folders")
    add("--per-class", type=int, default=300, help="training pictures a class (300)")
    add("--test-per-class", type=int, help="test pictures a class (all)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--peer-epochs", type=int, default=20)
    add("--peer-rates", type=float, nargs="+", default=[0.002],
        help="peak learning rates of the peer; of several the best run counts")  # fmt: skip
    add("--lengths", type=float, nargs="+", default=[4, 6, 8, 11, 15, 20],
        help="epochs of ours to try, the shortest first")  # fmt: skip
    add("--batch", type=int, default=64)
    add("--side", type=int, default=160, help="pixels of the peer (160)")
    add("--workers", type=int, default=2, help="loader processes of the peer (2)")
    add("--to", help="the JSON file to write (benchmarks/results/time_to_accuracy.json)")
    add("--smoke", action="store_true", help="everything at minimal length, to see that it runs")
    args = parser.parse_args()
    if args.smoke:
        vars(args).update(SMOKE)
    return args


def drawn(source: Path, to: Path, per_class: int, test_per_class: int | None) -> Path:
    """Return a folder of links, train/ and test/: the same draw whoever asks."""
    test = next((source / n for n in ("test", "val") if (source / n).is_dir()), None)
    if test is None or not (source / "train").is_dir():
        sys.exit(f"{source}: no train/ and val/ or test/ there; give such a folder")
    folder = to / f"data-{per_class}-{test_per_class or 'all'}"
    for part, root, count in (
        ("train", source / "train", per_class),
        ("test", test, test_per_class),
    ):
        for label in sorted(p for p in root.iterdir() if p.is_dir()):
            files = sorted(f for f in label.iterdir() if f.suffix.lower() in IMAGES)
            kept = random.Random(0).sample(files, min(count or len(files), len(files)))
            (folder / part / label.name).mkdir(parents=True, exist_ok=True)
            for file in kept:
                link = folder / part / label.name / file.name
                if not link.exists():
                    link.symlink_to(file.resolve())
    return folder


def peer(
    data: Path, runs: Path, setting: str, rate: float, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Return a peer's run, its target, and how long it trained to reach it."""
    file = runs / f"peer-{setting}-{rate}-{args.peer_epochs}-{seed}.json"
    if not file.exists():
        print(f"peer {setting}, seed {seed}: {args.peer_epochs} epochs", flush=True)
        given = {
            "setting": setting, "seed": seed, "epochs": args.peer_epochs, "batch": args.batch,
            "side": args.side, "workers": args.workers, "learning-rate": rate, "to": file,
        }  # fmt: skip
        flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        subprocess.run([sys.executable, str(PEER), str(data), *flags], check=True)
    run: dict[str, Any] = json.loads(file.read_text())
    best = max(run["curve"], key=lambda at: at["top1"])
    return run | {
        "target": best["top1"],
        "epoch": best["epoch"],
        "seconds_to_target": best["seconds"],
        "seconds": run["curve"][-1]["seconds"],
    }


def until(
    target: float, data: Path, runs: Path, seed: int, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return our runs of growing length, up to the first that reaches `target`."""
    found = []
    for epochs in sorted(args.lengths):
        found.append(our(data, runs, epochs, seed, args))
        if found[-1]["top1"] >= target:
            break
    return found


def our(
    data: Path, runs: Path, epochs: float, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Return a run of the training command with its defaults, of that length."""
    folder = runs / f"ours-{epochs:g}-{seed}"
    record = folder / "record.json"
    if not (record.exists() and json.loads(record.read_text())["finished"]):
        print(f"ours, seed {seed}: {epochs:g} epochs", flush=True)
        given = {
            "model": "v2-b0",
            "val": 0,
            "epochs": epochs,
            "batch-size": args.batch,
            "seed": seed,
        }
        flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        train(folder, [str(data), *flags, *(["--size", str(args.side)] if args.smoke else [])])
    about = json.loads(record.read_text())
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    test = json.loads((folder / "evaluation" / "test.json").read_text())
    return {
        "seed": seed,
        "epochs": epochs,
        "top1": test["top1"],
        "top1_interval": test["top1_interval"],
        "training_seconds": training_seconds([x for x in lines if x["kind"] == "train"]),
        "seconds": about["seconds"],
        "phases": about["phases"],
        "versions": about["versions"],
        "hardware": about["hardware"],
    }


def ratio(peers: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many times as long the peer trained, seed by seed, and where ours fell short."""
    values, missed = [], []
    for run in peers:
        reached = [x for x in ours if x["seed"] == run["seed"] and x["top1"] >= run["target"]]
        if reached:
            quickest = min(reached, key=lambda x: float(x["epochs"]))
            values.append(run["seconds_to_target"] / quickest["training_seconds"])
        else:
            missed.append(run["seed"])
    return {
        "target_mean": statistics.mean(run["target"] for run in peers),
        "n": len(values),
        "mean": statistics.mean(values) if values else None,
        "low": min(values, default=None),
        "high": max(values, default=None),
        "values": values,
        "seeds_not_reached": missed,
    }


def told(name: str, found: dict[str, Any]) -> str:
    """Return a line for a person."""
    missed = found["seeds_not_reached"]
    short = f"; not reached with seeds {missed}" if missed else ""
    if not found["n"]:
        return f"{name}, {found['target_mean']:.2%}: not reached by any length"
    return (
        f"{name}, {found['target_mean']:.2%}: {found['mean']:.2f} × faster "
        f"({found['low']:.2f} to {found['high']:.2f}, n = {found['n']}){short}"
    )


if __name__ == "__main__":
    main()
