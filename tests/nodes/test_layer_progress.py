"""Nodes of a few long passes report each layer, and a stop ends them at the next one."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.nodes.common.progress import layer_progress


class StopNowError(Exception):
    pass


@pytest.fixture
def reports(headless_host, monkeypatch):
    """What the host's bar is told, (step, total); set .stop_at to raise there."""
    told = []

    def progress(total, label=""):
        def report(step, total, preview=None):
            told.append((step, total))
            if step == stop.get("at"):
                raise StopNowError

        return report

    stop = {}
    monkeypatch.setattr(headless_host, "progress", progress)
    return told, stop


@pytest.mark.parametrize("network", ["tiny_generator", "tiny_progan"])
def test_each_layer_is_a_step_and_nothing_is_left_behind(reports, request, network):
    generator, (told, stop) = request.getfixturevalue(network), reports
    codes = generator.map(torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(0)))
    count = len(generator.network.synthesis.layers)
    plain = generator.synthesize(codes)
    with layer_progress(generator, 1):
        watched = generator.synthesize(codes)
    assert torch.equal(plain, watched) and told == [(k + 1, count) for k in range(count)]
    with layer_progress(generator, 1):
        generator.synthesize(torch.cat([codes, codes]))
        generator.synthesize(codes)
    assert told[-1] == (2 * count, 2 * count)  # more than was expected
    told.clear()
    stop["at"] = 2
    with pytest.raises(StopNowError), layer_progress(generator, 1):
        generator.synthesize(codes)
    assert told[-1][0] == 2
    told.clear()
    generator.synthesize(codes)
    assert not told


def test_nodes_that_draw_once_or_twice_report(reports, run_node, tiny_generator):
    told, _ = reports
    latents = run_node("SampleLatents", generator=tiny_generator, count=2, seed=1)[0][0]
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:40, 16:40] = 1
    told.clear()
    painting = run_node(
        "CopyAppearance", generator=tiny_generator, latents=latents, mask=mask, reference=latents, reference_mask=mask
    )[0][0]
    assert told
    told.clear()
    photos = run_node("GenerateImages", generator=tiny_generator, latents=latents)[0][0]
    told.clear()
    run_node("RenderPaintedPhoto", generator=tiny_generator, latents=latents, painting=painting, photos=photos)
    assert told
