"""Do handles reach their targets, by the truth, and does the rest stay?

A drag of the demo world is made from a sampled portrait by changing one factor: its handles are the true landmarks that
this moves most, the targets are where they go, the region is where the two renders differ. The generator drags; then
the oracle reads the factors of the result, and the landmarks of these factors are compared with the targets.

    followed  mean distance of handles and targets by the dragger's own tracking, px of 128
    true      the same by the landmarks of the factors that the oracle reads (mean | median)
    there     share of drags that end within a quarter of the way, by the truth
    outside   mean absolute change outside the region, per cent of the range from black to white
    drift     mean absolute change of all other factors, in their standard deviation
    identity  similarity to the portrait before
    steps, s  steps taken, processor seconds on one thread

"the sample itself" is the generator's own picture of the changed sample: what a perfect drag would give here.

    python benchmarks/drag.py [--drags 20] [--methods NAME ...] [--published-steps 150] [--write]
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from dataclasses import dataclass, replace

import torch
from _harness import machine_facts, say, table
from _pages import write_page
from semantic_edit.demo import factors_from_z, identity, measure, render
from semantic_edit.demo.assets import demo_file
from semantic_edit.demo.portraits.factors import FACTORS, INDEX, LIVE_NAMES
from semantic_edit.editing.drag.drag import PUBLISHED, DragSettings, drag
from semantic_edit.editing.drag.points import DragPoints
from semantic_edit.models import GanGenerator, load_generator
from torch import Tensor

SIZE = 128
# Factor: how far it is changed, in its own range.
CHANGES = {
    "yaw": 0.45, "smile": 0.9, "mouth_open": 0.6, "eye_open": 0.5, "brow": 0.9, "hair_len": 0.35, "face_w": 0.6,
}  # fmt: skip
OURS = DragSettings()
METHODS = {
    "the sample itself": None,
    "published, rate 1e-3": (PUBLISHED, range(6), True),
    "published, rate 2e-3": (replace(PUBLISHED, learning_rate=2e-3), range(6), True),
    "least change (default)": (OURS, None, True),
    "least change, all rows": (OURS, range(12), True),
    "least change, rows 0-7": (OURS, range(8), True),
    "least change, keep 3": (replace(OURS, region_weight=3.0), None, True),
    "least change, keep 0.3": (replace(OURS, region_weight=0.3), None, True),
    "least change, features of full height": (replace(OURS, feature_ratio=1.0), None, True),
    "least change, features of a quarter": (replace(OURS, feature_ratio=0.25), None, True),
    "least change, no region": (OURS, None, False),
}
COLUMNS = ("followed", "true", "median", "there", "outside", "drift", "identity", "steps", "seconds")


@dataclass(eq=False)
class Case:
    """One drag: a sample, the factor that is changed, and what follows from it."""

    z: Tensor  # [1, Z]
    factor: str
    changed: Tensor  # [1, K] factors
    marks: list[int]  # landmarks that are dragged
    points: DragPoints
    region: Tensor  # [H, W]
    goal: float = 0.0  # the factor's value after the drag, by the oracle, once that is known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drags", type=int, default=20)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--published-steps", type=int, default=150)
    parser.add_argument("--write", action="store_true", help="put the table on its page of results/")
    options = parser.parse_args()
    generator = load_generator(demo_file("generators"))
    cases = make_cases(options.drags)
    spread = {name: float(values.std()) for name, values in measure(pictures_of(generator, 256)).items()}
    far = statistics.mean(float(apart(case.points.handles, case.points.targets)) for case in cases)
    say(f"{len(cases)} drags of {far:.1f} px on average: {', '.join(case.factor for case in cases)}")
    rows = []
    for name in options.methods:
        found = [grade(generator, case, METHODS[name], spread, options.published_steps) for case in cases]
        rows.append([name, *summary(found)])
        say(" | ".join(rows[-1]))
    text = table(("", *(c for c in COLUMNS if c != "median")), rows)
    say(f"\n{text}\n\n{machine_facts()}")
    if options.write:
        about = f"{len(cases)} drags of {far:.1f} px on average.\n\n"
        write_page("drag", about + text, f"python benchmarks/drag.py --drags {options.drags}", machine_facts())


def make_cases(count: int, seed: int = 5) -> list[Case]:
    """Random drags with at least 2.5 px to go, the two landmarks that move most."""
    rng, cases = torch.Generator().manual_seed(seed), []
    while len(cases) < count:
        z = torch.randn(1, 64, generator=rng)
        name = list(CHANGES)[int(torch.randint(len(CHANGES), (1,), generator=rng))]
        case = make_case(z, name, CHANGES[name])
        if case is not None:
            cases.append(case)
    return cases


def make_case(z: Tensor, name: str, amount: float) -> Case | None:
    """The drag that changing a factor by ``amount`` (toward the middle of its range) asks for."""
    factors, factor = factors_from_z(z), FACTORS[INDEX[name]]
    if name in ("eye_open", "brow") and float(factors[0, INDEX["glasses"]]) > 0.5:
        return None  # behind glasses nobody would place a handle
    changed, value = factors.clone(), float(factors[0, INDEX[name]])
    value += amount if value < (factor.low + factor.high) / 2 else -amount
    changed[0, INDEX[name]] = min(max(value, factor.low), factor.high)
    before, after = render(factors, SIZE), render(changed, SIZE)
    first, last = before.landmarks[0], after.landmarks[0]
    visible = torch.stack([first, last]).sub(SIZE / 2).abs().amax(dim=(0, 2)) < SIZE / 2 - 2
    way = (last - first).norm(dim=1) * visible
    marks = [k for k in way.argsort(descending=True).tolist() if way[k] >= 2.5][:2]
    if not marks:
        return None
    difference = (before.images - after.images).abs().amax(dim=1, keepdim=True) > 0.05
    region = torch.nn.functional.max_pool2d(difference.float(), 9, 1, 4)[0, 0]
    return Case(z, name, changed, marks, DragPoints(first[marks], last[marks]), region)


def grade(
    generator: GanGenerator, case: Case, method, spread: dict[str, float], most: int, scale: int = 1
) -> dict[str, float]:
    """The figures of one drag; points are ``scale`` times as far apart as in the demo world."""
    w = generator.map(case.z)
    followed = steps = seconds = math.nan
    if method is None:
        code = generator.map(changed_sample(case))
    else:
        settings, rows, with_region = method
        if settings.method == "published":
            settings = replace(settings, steps=most)
        began = time.process_time()
        result = drag(generator, w, case.points, case.region if with_region else None, rows, settings)
        seconds, code, steps = time.process_time() - began, result.code, result.steps
        followed = float(apart(result.positions[-1], case.points.targets)) / scale
    pictures = torch.nn.functional.avg_pool2d(generator.synthesize(torch.cat([w, code])), scale)
    values = measure(pictures)
    true = float(apart(render(values, SIZE).landmarks[1, case.marks], case.points.targets / scale))
    outside = 1 - case.region[::scale, ::scale]
    change = (pictures[1] - pictures[0]).abs().mean(dim=0)
    others = [name for name in LIVE_NAMES if name not in (case.factor, "hat_hue")]
    same = identity(pictures)
    return {
        "followed": followed,
        "true": true,
        "there": float(true < 0.25 * float(apart(case.points.handles, case.points.targets)) / scale),
        "outside": 50 * float((change * outside).sum() / outside.sum()),
        "drift": statistics.mean(float((values[n][1] - values[n][0]).abs()) / spread[n] for n in others),
        "identity": float((same[0] * same[1]).sum()),
        "steps": steps,
        "seconds": seconds,
    }


def summary(found: list[dict[str, float]]) -> list[str]:
    mean = {key: statistics.mean(row[key] for row in found) for key in found[0]}
    middle = statistics.median(row["true"] for row in found)
    cells = [
        f"{mean['followed']:.2f}", f"{mean['true']:.2f} | {middle:.2f}", f"{mean['there']:.0%}",
        f"{mean['outside']:.2f} %", f"{mean['drift']:.2f}", f"{mean['identity']:.2f}", f"{mean['steps']:.0f}",
        f"{mean['seconds']:.1f}",
    ]  # fmt: skip
    return [cell.replace("nan", "-").replace(" | ", " / ") for cell in cells]


def changed_sample(case: Case) -> Tensor:
    """The sample z whose portrait has the changed factor; entries that drive nothing keep its length."""
    z = case.z * torch.rsqrt(case.z.square().mean(dim=1, keepdim=True) + 1e-8)
    k, factor = INDEX[case.factor], FACTORS[INDEX[case.factor]]
    share = ((case.changed[0, k] - factor.low) / (factor.high - factor.low)).clamp(0.01, 0.99)
    z[0, k] = math.sqrt(2) * torch.erfinv(2 * share - 1)
    live = len(LIVE_NAMES)
    rest = z[0, live:]
    z[0, live:] = rest * ((z.shape[1] - z[0, :live].square().sum()) / rest.square().sum()).clamp(min=0).sqrt()
    return z


def pictures_of(generator: GanGenerator, count: int) -> Tensor:
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(9))
    return torch.cat([generator.synthesize(generator.map(part)) for part in z.split(32)])


def apart(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).norm(dim=-1).mean()


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    main()
