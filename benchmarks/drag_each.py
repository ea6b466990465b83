"""Drag one and give it to everyone, or drag everyone: what comes out, and what it takes.

An example is dragged (handles and targets from the truth of the demo world, as in drag.py). Then a batch of portraits
follows, in one of these ways:

    same drag       every portrait is dragged alone, from its own true landmarks, by the example's own distances
    to the truth    the same by somebody who knows where the landmarks must end for the example's final state
    by hand         the same by somebody whose targets miss the truth by 2 px (standard deviation)
    constant        the example's change of code, added to every code
    difference      its plain difference, to the example's state by the closed form
    default         Optimize Direction and Compute Strength as they are set: a learned normal
    corrected       the same, each picture measured and corrected twice

    spread   standard deviation of the attribute by the oracle, after / before
    landing  |mean after - the dragged example's value|, in the deviation before
    drift    mean absolute change of all other factors, in their deviation
    identity similarity to the portrait before
    seconds  of the processor, one thread, the example's own drag included; in brackets learning that is done once
    actions  clicks and painted regions of a person

    python benchmarks/drag_each.py [--portraits 32] [--factors yaw ...] [--write]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import torch
from _harness import machine_facts, say, table
from _pages import write_page
from drag import CHANGES, SIZE, Case, make_case
from semantic_edit.demo import factors_from_z, identity, measure, render
from semantic_edit.demo.assets import demo_file
from semantic_edit.demo.portraits.factors import FACTORS, INDEX, LIVE_NAMES
from semantic_edit.editing import apply_edit, constant_strength, plan_strength, record_edit
from semantic_edit.editing.drag.drag import drag
from semantic_edit.editing.drag.points import DragPoints
from semantic_edit.editing.one_for_all.attribute_score import sample_features
from semantic_edit.editing.one_for_all.features import encoder_space
from semantic_edit.editing.one_for_all.fit_normal import learn_direction
from semantic_edit.editing.one_for_all.render_and_correct import ROUNDS
from semantic_edit.editing.one_for_all.strength_modes import strengths_for
from semantic_edit.models import GanGenerator, load_generator
from semantic_edit.models.encoders.encoder import load_encoder
from torch import Tensor

HAND = 2.0  # px of 128: by how much a hand misses a target that nobody has marked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=32)
    parser.add_argument("--factors", nargs="*", default=["yaw", "hair_len"])
    parser.add_argument("--write", action="store_true", help="put the table on its page of results/")
    options = parser.parse_args()
    generator = load_generator(demo_file("generators"))
    space = encoder_space(load_encoder(demo_file("encoders")))
    began = time.process_time()
    sample_features(generator, space)
    learning = time.process_time() - began
    z = torch.randn(options.portraits, generator.z_dim, generator=torch.Generator().manual_seed(200))
    rows = []
    for factor in options.factors:
        case = example_of(factor)
        for method, codes, seconds, actions in ways(generator, case, z, space, learning):
            cells = grade(generator, case, z, codes)
            rows.append([factor, method, *cells, seconds, actions])
            say(" | ".join(str(cell) for cell in rows[-1]))
    text = table(("", "", "spread", "landing", "drift", "identity", "seconds", "actions"), rows)
    say(f"\n{text}\n\n{machine_facts()}")
    if options.write:
        about = f"{options.portraits} portraits, one dragged example for each factor.\n\n"
        command = f"python benchmarks/drag_each.py --portraits {options.portraits}"
        write_page("drag_each", about + text, command, machine_facts())


def example_of(factor: str) -> Case:
    """The first sample that gives a drag of this factor."""
    rng = torch.Generator().manual_seed(300)
    while True:
        case = make_case(torch.randn(1, 64, generator=rng), factor, CHANGES[factor])
        if case is not None:
            return case


def ways(
    generator: GanGenerator, case: Case, z: Tensor, space, learning: float
) -> Iterator[tuple[str, Tensor, str, int]]:
    """Each way of bringing the batch there: its name, the codes, seconds, human actions."""
    batch, start = generator.map(z), generator.map(case.z)
    began = time.process_time()
    edited = drag(generator, start, case.points, case.region).code
    one, points = time.process_time() - began, len(case.points)
    case.goal = float(measure(generator.synthesize(edited))[case.factor])
    for name, error in (("same drag", None), ("to the truth", 0.0), ("by hand", HAND)):
        began = time.process_time()
        codes, dragged = drag_everyone(generator, case, z, batch, error)
        yield name, codes, f"{one + time.process_time() - began:.0f}", (dragged + 1) * (2 * points + 1)
    actions = 2 * points + 1
    plain = record_edit(generator, start, edited)
    for name, plan in (("constant", constant_strength), ("difference", plan_strength)):
        began = time.process_time()
        codes = apply_edit(batch, plain, plan(plain, batch).alpha)
        yield name, codes, f"{one + time.process_time() - began:.1f}", actions
    began = time.process_time()
    learned = learn_direction(generator, plain, space=space)
    for name, rounds in (("default", 0), ("corrected", ROUNDS)):
        strength = strengths_for(learned, batch, generator=generator, corrections=rounds, space=lambda: space)
        codes = apply_edit(batch, learned, strength.alpha)
        yield name, codes, f"{one + time.process_time() - began:.1f} (+{learning:.0f})", actions


def drag_everyone(
    generator: GanGenerator, case: Case, z: Tensor, batch: Tensor, error: float | None
) -> tuple[Tensor, int]:
    """Codes [B, L, D] of portraits dragged one by one, and how many needed it.

    error None: by the example's own distances. Else to the true landmarks of the goal, missed by so many pixels.
    """
    rng = torch.Generator().manual_seed(400)
    factors = factors_from_z(z)
    goals = factors.clone()
    factor, k = FACTORS[INDEX[case.factor]], INDEX[case.factor]
    goals[:, k] = min(max(case.goal, factor.low), factor.high)
    before, after = render(factors, SIZE), render(goals, SIZE)
    codes, dragged = batch.clone(), 0
    for i in range(len(batch)):
        handles = before.landmarks[i, case.marks].clamp(1, SIZE - 1)
        way = case.points.targets - case.points.handles
        if error is None:
            targets = handles + way
        else:
            targets = after.landmarks[i, case.marks] + error * torch.randn(1, 2, generator=rng)
        targets = targets.clamp(1, SIZE - 1)
        moving = (targets - handles).norm(dim=1) > 0.7
        if not bool(moving.any()):
            continue
        dragged += 1
        difference = (before.images[i] - after.images[i]).abs().amax(dim=0) > 0.05
        region = torch.nn.functional.max_pool2d(difference.float()[None, None], 9, 1, 4)[0, 0]
        region = None if not bool(region.any()) else region
        codes[i] = drag(generator, batch[i], DragPoints(handles[moving], targets[moving]), region).code[0]
    return codes, dragged


def grade(generator: GanGenerator, case: Case, z: Tensor, codes: Tensor) -> list[str]:
    first, last = (torch.cat([generator.synthesize(part) for part in w.split(16)]) for w in (generator.map(z), codes))
    before, after = measure(first), measure(last)
    std = float(before[case.factor].std())
    others = [name for name in LIVE_NAMES if name not in (case.factor, "hat_hue")]
    drift = statistics.mean(float((after[n] - before[n]).abs().mean() / before[n].std()) for n in others)
    same = float((identity(first) * identity(last)).sum(dim=1).mean())
    spread = float(after[case.factor].std()) / std
    landing = abs(float(after[case.factor].mean()) - case.goal) / std
    return [f"{spread:.2f}", f"{landing:.2f}", f"{drift:.2f}", f"{same:.2f}"]


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    main()
