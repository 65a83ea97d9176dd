"""Write the table of measured numbers into README.md from the JSON under benchmarks/results.

python benchmarks/tables.py
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- measured: benchmarks/tables.py writes this -->", "<!-- end of measured -->"
WHAT = {
    "elpv": "ELPV solar cells, 656 test pictures, `mini` from scratch",
    "mnist5k": "MNIST, 4,000 training digits, V2-B0 from scratch",
    "imagenette": "Imagenette 160 px, V2-B0 from scratch",
}


def result(name: str) -> Any:
    """Return the result `name`, or None before it was measured."""
    path = HERE / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def rows() -> Iterator[tuple[str, str, str]]:
    """Yield (what, number, command)."""
    for name, what in WHAT.items():
        if found := result(name):
            spread = f" ± {found['top1_sd']:.2%}" if found["top1_sd"] is not None else ""
            number = f"{found['top1_mean']:.2%}{spread} top-1, {found['seconds_mean'] / 60:.0f} min"
            yield what, f"{number} (n = {found['n']})", found["command"].strip()
    if found := result("progressive"):
        time, gain = found["time_ratio"], found["top1_difference"]
        low, high = gain["interval"]
        yield (
            "progressive against fixed size and strength, same epochs",
            f"{time['mean']:.2f} × the time ({time['interval'][0]:.2f} to "
            f"{time['interval'][1]:.2f}), top-1 {gain['mean']:+.1%} ({low:+.1%} to {high:+.1%})",
            found["command"],
        )
    for name, what in (("step", "one training step"), ("infer", "inference")):
        if found := result(name):
            for case in found["cases"]:
                row = next(r for r in case["rows"] if told(r) == case["best"])
                if ratio := row["speed_ratio"]:
                    yield (
                        f"{what}, {case['model']} at {case['side']} px, batch {case['batch']}, "
                        f"beside {case['best_peer']}",
                        speed(ratio),
                        found["command"],
                    )
    if found := result("loader"):
        for case in found["cases"]:
            for row in case["rows"]:
                if row["name"].startswith("effnetv2"):
                    yield (
                        f"training batches of {case['pictures']} at {case['side']} px, "
                        f"{case['workers']} workers: {row['name']}, beside {case['best_peer']}",
                        speed(row["speed_ratio"]),
                        found["command"],
                    )
    if found := result("family"):
        for row in found["correlations"]:
            yield (
                f"rank correlation with the paper's times, {row['what']}",
                f"{row['coefficient']:.2f} ({row['networks']} networks)",
                found["command"],
            )
    if found := result("time_to_accuracy"):
        for peer, ratio in found["ratios"].items():
            if not ratio["n"]:
                continue
            yield (
                f"time to the best test accuracy of {peer}, {found['data']}",
                f"{ratio['mean']:.1f} × faster ({ratio['low']:.1f} to {ratio['high']:.1f}, "
                f"n = {ratio['n']})",
                found["command"],
            )


def speed(ratio: dict[str, float]) -> str:
    """Return a ratio of speeds with its quartiles."""
    return f"{ratio['median']:.2f} × the speed ({ratio['low']:.2f} to {ratio['high']:.2f})"


def told(row: dict[str, Any]) -> str:
    """Return what a case calls one of its rows."""
    return f"{row['library']} {row['network']}, {row['setting']}"


def main() -> None:
    """Replace what stands between the marks."""
    readme = HERE.parent / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    table = ["| what | measured | command |", "|---|---|---|"]
    table += [f"| {what} | {number} | `{command}` |" for what, number, command in rows()]
    readme.write_text(before + BEGIN + "\n" + "\n".join(table) + "\n" + END + after)


if __name__ == "__main__":
    main()
