"""Several photos with one sentence, guided away from what they show, as in the template imagic_batch.

One eta for all stands beside an eta for each that brings all to one state.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median, pstdev

import torch
from _edit_methods import ETAS, Task, Workshop
from semantic_edit.demo.measure import identity, measure
from semantic_edit.demo.portraits.factors import INDEX, sample_factors
from semantic_edit.demo.portraits.render import render
from semantic_edit.editing.common.figures import as_picture, contact_sheet
from semantic_edit.editing.imagic.common_state import common_state
from semantic_edit.editing.imagic.conditioning import conditioning_list
from semantic_edit.editing.imagic.interpolation import interpolate
from semantic_edit.editing.imagic.sweep import SentenceScore, sweep_eta

SENTENCE, SOURCE, ATTRIBUTE = "a person with long hair", "a person with short hair", "hair_len"


def common_figures(workshop: Workshop, count: int, sheets: Path | None) -> dict:
    """Spreads over photos (standard deviations) of the scorer's score and of the oracle's attribute, both ways."""
    assert workshop.scorer is not None
    factors = sample_factors(400, torch.Generator().manual_seed(808))
    short = (factors[:, INDEX[ATTRIBUTE]] < 0.5) & (factors[:, INDEX["hat"]] < 0.5)
    images = render(factors[short][:count], workshop.side).images
    photos, score = (images.movedim(1, -1) + 1) / 2, SentenceScore(workshop.scorer, SENTENCE, SOURCE)
    target, learned, sweeps, renderers = workshop.said(SENTENCE), [], [], []
    for k in range(count):
        task = Task(f"common {k}", photos[k : k + 1], SENTENCE, SOURCE)
        learned.append(replace(workshop.learn("standard", task), negative=SOURCE))
        renderers.append(workshop.renderer(learned[-1], task))
        sweeps.append(sweep_eta(renderers[-1], learned[-1].conditioning, target, task.photo, ETAS, [0], score=score))
    state = common_state(ETAS, [sweep.scores or () for sweep in sweeps], [sweep.best_eta for sweep in sweeps])
    one = median(sweep.best_eta for sweep in sweeps)
    ways = {"one eta": [one] * count, "an eta for each": state.etas}
    found, pictures = {}, [list(photos)]
    for name, etas in ways.items():
        painted = torch.stack(
            [
                renderer.render(conditioning_list(interpolate(each.conditioning, target, eta)), 0)
                for renderer, each, eta in zip(renderers, learned, etas, strict=True)
            ]
        )
        pictures.append(list(painted))
        as_images = painted.movedim(-1, 1) * 2 - 1
        found[name] = {
            "score spread": pstdev(score(painted)),
            "attribute spread": float(measure(as_images)[ATTRIBUTE].std(correction=0)),
            "attribute": float(measure(as_images)[ATTRIBUTE].mean()),
            "identity": float((identity(as_images) * identity(images)).sum(1).mean()),
        }
    before = {
        "score spread": pstdev(score(photos)),
        "attribute spread": float(measure(images)[ATTRIBUTE].std(correction=0)),
    }
    if sheets:
        sheets.mkdir(parents=True, exist_ok=True)
        as_picture(contact_sheet(pictures, ["photos", *ways])).save(sheets / "common state.png")
    parts = [
        f"{name}: score spread {values['score spread']:.3f}, {ATTRIBUTE} {values['attribute']:.2f} with spread "
        f"{values['attribute spread']:.3f}"
        for name, values in found.items()
    ]
    text = (
        f"{count} photos, '{SENTENCE}'; before: score spread {before['score spread']:.3f}, {ATTRIBUTE} spread "
        f"{before['attribute spread']:.3f}; {'; '.join(parts)}. {state.report()}"
    )
    return {"text": text, "before": before, **found, "etas": state.etas, "one": one}
