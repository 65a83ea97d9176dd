"""Progressive learning against the same run at its last size and strength throughout.

    python benchmarks/progressive.py --data ../shared/data/imagenette-160

Same network, pictures, epochs and seeds; only the progression differs. What is told: the ratio of
training times and the difference of accuracies, paired by seed, with 95 % t-intervals.
"""

import argparse
import json
import math
import statistics
from typing import Any

from accuracy import RESULTS, RUNS, commit, told, train

# Student's t at 97.5 %, by degrees of freedom.
T = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776}
ARGUMENTS = ["--epochs", "1.5", "--batch-size", "64", "--set", "validate_every=5"]
SEEDS = (0, 1, 2)
FIELDS = ("resolution", "dropout", "drop_path", "randaugment", "mixup", "cutmix")


def interval(values: list[float]) -> dict[str, Any]:
    """Return mean, standard deviation and the t-interval of the mean."""
    mean, sd = statistics.mean(values), statistics.stdev(values)
    half = T[len(values) - 1] * sd / math.sqrt(len(values))
    return {"mean": mean, "sd": sd, "interval": [mean - half, mean + half], "values": values}


def main() -> None:
    parser = argparse.ArgumentParser(description="Progressive against fixed, paired seeds.")
    parser.add_argument("--data", required=True)
    args = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {"progressive": [], "fixed": []}
    record = {}
    for seed in SEEDS:
        common = [args.data, *ARGUMENTS, "--seed", str(seed)]
        grown = RUNS / f"progressive-{seed}"
        train(grown, common)
        progression = json.loads((grown / "recipe.json").read_text())["progression"]
        ends = [f"--set=progression.{k}={json.dumps([progression[k][1]] * 2)}" for k in FIELDS]
        fixed = RUNS / f"fixed-{seed}"
        train(fixed, [*common, *ends])
        rows["progressive"].append(told(grown, seed))
        rows["fixed"].append(told(fixed, seed))
        record = json.loads((grown / "record.json").read_text())
    time = "training_seconds"
    pairs = list(zip(rows["progressive"], rows["fixed"], strict=True))
    result = {
        "command": "python benchmarks/progressive.py --data imagenette-160",
        "changes": {f"progression.{k}": "[last, last]" for k in FIELDS},
        "commit": commit(),
        "versions": record["versions"],
        "hardware": record["hardware"],
        "time_ratio": interval([a[time] / b[time] for a, b in pairs]),
        "top1_difference": interval([a["top1"] - b["top1"] for a, b in pairs]),
        "progressive": rows["progressive"],
        "fixed": rows["fixed"],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "progressive.json").write_text(json.dumps(result, indent=1) + "\n")
    for name in ("time_ratio", "top1_difference"):
        low, high = result[name]["interval"]
        print(f"{name}: {result[name]['mean']:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
