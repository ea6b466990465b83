"""Sweep Eta and what follows: where the noise comes from, what is chosen and why, photos at one state."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.imagic import sweep
from semantic_edit.editing.imagic.camera import CameraMove
from semantic_edit.editing.imagic.sampling import NOISES
from semantic_edit.headless.run.catalog import core_nodes, describe, installed_nodes
from semantic_edit.headless.workflow.widgets import named_values
from semantic_edit.models.errors import InputError
from semantic_edit.nodes.imagic._inputs import seeds_from

pytest.importorskip("transformers")
SAMPLING = {"seed": 3, "steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal"}


def test_a_sweep_shows_chooses_and_explains(run_node, bundle, sockets, photo, scorer):
    inputs = {name: sockets[name] for name in ("model", "latent", "target", "negative")}
    sheet, images, plot, eta, conditioning, report, *_ = run_node(
        "SweepEta", **inputs, vae=bundle.vae, optimised=sockets["negative"], photo=photo, etas="0, 0.5, 1", seeds=2,
        **SAMPLING, scorer=scorer, prompt="a person with glasses", source="a person",
    )[0]  # fmt: skip
    assert images.shape == (3, 16, 16, 3) and 0 <= eta <= 1 and "eta" in report
    assert sheet.shape[-1] == plot.shape[-1] == 3 and conditioning[0][0].shape == sockets["target"][0][0].shape
    blind = run_node(
        "SweepEta",
        **inputs,
        vae=bundle.vae,
        optimised=sockets["negative"],
        photo=photo,
        etas="0.2, 0.8",
        seeds=1,
        **SAMPLING,
    )[0]
    assert blind[3] == 0.8 and "No scorer" in blind[5]
    with pytest.raises(InputError, match="written out"):
        run_node("SweepEta", **inputs, vae=bundle.vae, optimised=sockets["negative"], photo=photo, etas="0.2", seeds=1,
                 **SAMPLING, scorer=scorer, prompt=" ")  # fmt: skip
    for wrong in (torch.zeros(1, 0, 0, 3), torch.full((1, 16, 16, 3), float("nan"))):
        with pytest.raises(InputError, match="expected an IMAGE"):
            run_node("SweepEta", **inputs, vae=bundle.vae, optimised=sockets["negative"], photo=wrong, etas="0.2",
                     seeds=1, **SAMPLING)  # fmt: skip
    negative = inputs["negative"][0]
    broken = {**inputs, "negative": [[torch.full_like(negative[0], float("nan")), negative[1]]]}
    with pytest.raises(InputError, match="eta 0.2 and seed 3 the model painted numbers that are not finite"):
        run_node("SweepEta", **broken, vae=bundle.vae, optimised=sockets["negative"], photo=photo, etas="0.2", seeds=1,
                 **SAMPLING)  # fmt: skip


def test_what_the_scorer_sees_is_the_sentence_and_what_is_beside_it(scorer):
    """Along the sentence's direction and across it: by Pythagoras nothing else is left of a change."""
    score = sweep.SentenceScore(scorer, "a person with glasses", "a person")
    pictures = torch.rand(3, 64, 64, 3, generator=torch.Generator().manual_seed(2))
    features = score.features(pictures)
    along = [value - score.of(features[:1])[0] for value in score.of(features)]
    beside = score.beside(features, features[:1])
    assert beside[0] == pytest.approx(0, abs=1e-6) and score(pictures) == score.of(features)
    for k, change in enumerate((features - features[:1]).norm(dim=1).tolist()):
        assert along[k] ** 2 + beside[k] ** 2 == pytest.approx(change**2, rel=1e-4, abs=1e-9)


def test_the_scorer_comes_back_to_judge(run_node, bundle, sockets, photo, scorer, headless_host, monkeypatch):
    """Painting needs memory, and ComfyUI may take it from the scorer, or from half of it."""
    placed, judged = [], []
    original_place, decode, see = headless_host.place, type(bundle.vae).decode, scorer.model.encode_image
    monkeypatch.setattr(headless_host, "place", lambda *networks: placed.extend(networks) or original_place(*networks))
    monkeypatch.setattr(type(bundle.vae), "decode", lambda *args: placed.clear() or decode(*args))
    monkeypatch.setattr(
        scorer.model, "encode_image", lambda x: judged.append(any(n is scorer.model for n in placed)) or see(x)
    )
    inputs = {name: sockets[name] for name in ("model", "latent", "target", "negative")}
    inputs |= dict(vae=bundle.vae, optimised=sockets["negative"], photo=photo, etas="0, 1", **SAMPLING)
    inputs |= dict(scorer=scorer, prompt="a person with glasses", source="a person", seeds=2)
    run_node("SweepEta", **inputs)
    assert len(judged) == 3 and all(judged)


def test_a_sweep_paints_what_the_sampler_paints(run_node, bundle, sockets, photo):
    """Also of one photo of a batch, under Set Latent Noise Mask, and from the photo's own noise."""
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8, :] = 1
    for more in ({}, {"noise_mask": mask}, {"batch_index": [2]}):
        inputs = {name: sockets[name] for name in ("model", "target", "negative")}
        inputs["latent"] = {**sockets["latent"], **more}
        sampled = {}
        for noise in NOISES:
            sampled[noise] = run_node("SweepEta", **inputs, vae=bundle.vae, optimised=sockets["negative"], photo=photo,
                                      etas="1", seeds=1, noise=noise, **SAMPLING)[0][1]  # fmt: skip
        sampler = core_nodes()["KSampler"].execute(
            model=bundle.model, positive=sockets["target"], negative=sockets["negative"], latent_image=inputs["latent"],
            denoise=1.0, **SAMPLING,
        )  # fmt: skip
        own = run_node(
            "SampleFromPhotoNoise", model=bundle.model, positive=sockets["target"], negative=sockets["negative"],
            latent=inputs["latent"], **SAMPLING,
        )[0][0]  # fmt: skip
        assert torch.allclose(sampled[NOISES[0]], bundle.vae.decode(sampler.result[0]["samples"]), atol=1e-6), more
        assert torch.allclose(sampled[NOISES[1]], bundle.vae.decode(own["samples"]), atol=1e-6), more
        assert not torch.allclose(sampled[NOISES[0]], sampled[NOISES[1]], atol=1e-3)


def test_the_photo_comes_back_from_its_own_noise(run_node):
    """Under what it was inverted under; several at once; also where a schedule stops above the least noise."""
    model, clip, vae = run_node("LoadDemoDiffusion")[0]
    photos = run_node("LoadDemoPhotos", photo="all", limit=2, size=128)[0][0]
    latent, empty = {"samples": vae.encode(photos)}, clip.encode_from_tokens_scheduled("")
    for scheduler in ("karras", "sgm_uniform"):
        settings = {**SAMPLING, "steps": 20, "sampler_name": "euler", "scheduler": scheduler}
        inputs = dict(model=model, positive=empty, negative=empty, latent=latent)
        back = run_node("SampleFromPhotoNoise", **inputs, **settings)[0][0]["samples"]
        apart = (back - latent["samples"]).square().mean((1, 2, 3)).sqrt() / latent["samples"].std()
        assert float(apart.max()) < 0.08, (scheduler, apart)


def test_seeds_make_no_difference_to_the_photo_s_own_noise(run_node, bundle, sockets, photo):
    inputs = {name: sockets[name] for name in ("model", "target", "negative", "latent")}
    inputs |= dict(vae=bundle.vae, optimised=sockets["negative"], photo=photo, etas="0, 1", noise=NOISES[1])
    sheets = [run_node("SweepEta", **inputs, seeds=n, **{**SAMPLING, "seed": n})[0][1] for n in (1, 3)]
    assert torch.equal(*sheets)


def test_the_camera_is_looked_for_where_noise_is_random(run_node, bundle, sockets, photo, monkeypatch):
    asked = []
    still = CameraMove(1.0, 0.0, (0.0, 0.0), 0.0)
    monkeypatch.setattr(sweep, "estimate_camera_move", lambda *pictures: asked.append(pictures) or still)
    inputs = {name: sockets[name] for name in ("model", "target", "negative", "latent")}
    inputs |= dict(vae=bundle.vae, optimised=sockets["negative"], photo=photo, etas="0, 1", seeds=1, **SAMPLING)
    for noise, count in zip(NOISES, (2, 2), strict=True):
        run_node("SweepEta", **inputs, noise=noise)
        assert len(asked) == count


def test_a_caption_is_the_other_negative_and_the_better_is_chosen(
    run_node, bundle, sockets, photo, scorer, monkeypatch
):
    inputs = {name: sockets[name] for name in ("model", "target", "negative", "latent")}
    inputs |= dict(vae=bundle.vae, optimised=sockets["negative"], photo=photo, etas="0, 1", seeds=3, **SAMPLING)
    words = dict(scorer=scorer, prompt="a person with glasses", source="a person")
    caption = [[0.5 * sockets["target"][0][0], sockets["target"][0][1]]]
    alone = [run_node("SweepEta", **{**inputs, "negative": each}, noise=NOISES[1], **words)[0]
             for each in (sockets["negative"], caption)]  # fmt: skip
    for best in (0, 1):
        monkeypatch.setattr(sweep, "choose_between", lambda *curves, best=best: (best, 1))
        sheet, images, _, eta, _, report, negative, _ = run_node(
            "SweepEta", **inputs, caption=caption, noise=NOISES[1], **words
        )[0]
        assert torch.equal(images, alone[best][1]) and eta == 1.0
        assert negative is (sockets["negative"], caption)[best] and ("negative", "caption")[best] in report
        assert sheet.shape[1] > alone[0][0].shape[1], "a row more"
    assert alone[0][6] is sockets["negative"]
    with pytest.raises(InputError, match="needs a scorer"):
        run_node("SweepEta", **inputs, caption=caption)


def test_a_photo_learned_twice_is_painted_by_both_and_the_best_is_chosen(
    run_node, bundle, sockets, photo, scorer, monkeypatch
):
    second = run_node(
        "TuneModel", model=bundle.model, latent=sockets["latent"], conditioning=sockets["target"], method="LoRA",
        steps=2, rate=0.1, rank=2, draws=2, blocks="all", seed=7,
    )[0][0]  # fmt: skip
    inputs = {name: sockets[name] for name in ("model", "target", "negative", "latent")}
    inputs |= dict(vae=bundle.vae, optimised=sockets["negative"], photo=photo, etas="0, 1", seeds=3, **SAMPLING)
    inputs |= dict(scorer=scorer, prompt="a person with glasses", source="a person", noise=NOISES[1])
    caption, other = ([[k * sockets["target"][0][0], sockets["target"][0][1]]] for k in (0.5, 0.2))
    every = [(model, start, negative) for model, start in ((bundle.model, sockets["negative"]), (second, other))
             for negative in (sockets["negative"], caption)]  # fmt: skip
    for best, (model, start, negative) in enumerate(every):
        alone = run_node("SweepEta", **inputs | dict(model=model, optimised=start, negative=negative))[0]
        monkeypatch.setattr(sweep, "choose_between", lambda *curves, best=best: (best, 0))
        found = run_node("SweepEta", **inputs, caption=caption, second_model=second, second_optimised=other)[0]
        assert torch.equal(found[1], alone[1]) and torch.equal(found[4][0][0], start[0][0]), "at eta 0"
        assert found[6] is negative and found[7] is model
        assert f"best picture of 4 is painted by the {'second ' * (best > 1)}model, away from the" in found[5]
    monkeypatch.setattr(sweep, "choose_between", lambda *curves: (1, 0))
    under_one = run_node("SweepEta", **inputs, second_model=second)[0]
    assert torch.equal(under_one[4][0][0], sockets["negative"][0][0]) and under_one[7] is second
    assert "better picture of the two is painted by the second model." in under_one[5]
    assert run_node("SweepEta", **inputs)[0][7] is bundle.model
    with pytest.raises(InputError, match="second_optimised is connected without a second_model"):
        run_node("SweepEta", **inputs, second_optimised=other)
    with pytest.raises(InputError, match="A second model needs a scorer"):
        run_node("SweepEta", **inputs | {"scorer": None}, second_model=second)
    monkeypatch.setattr(sweep, "_render_grid", lambda *_: pytest.fail("it painted first"))
    narrow = [[other[0][0][..., :-1], other[0][1]]]
    with pytest.raises(InputError, match="wide"):
        run_node("SweepEta", **inputs, second_model=second, second_optimised=narrow)


def test_workflows_saved_before_the_choice_of_noise_keep_random_noise():
    info = describe(installed_nodes())["SemanticEditSweepEta"]
    saved = ["0.2 to 1.2 in 6", 2, 3, 20, 3.0, "euler", "normal", "linear", "a person with glasses", "a person"]
    assert named_values(info, saved)["noise"] == NOISES[0]
    assert named_values(info, {"etas": "0, 1"})["noise"] == NOISES[0]
    assert named_values(info, [*saved, NOISES[1]])["noise"] == NOISES[1]
    assert named_values(info, None)["noise"] == NOISES[1]


def test_the_seeds_of_a_sweep_are_those_of_the_sampler():
    assert seeds_from(2**64 - 2, 3) == [2**64 - 2, 2**64 - 1, 0]


def test_photos_reach_one_state(run_node, bundle, sockets, photo, scorer, headless_host):
    photos = torch.cat([photo, 1 - photo])
    settings = {
        "embedding_steps": 2,
        "embedding_rate": 0.05,
        "tuning_steps": 2,
        "tuning_rate": 1e-2,
        "rank": 2,
        "draws": 2,
    }
    learned, report = run_node(
        "TunePhotos", model=bundle.model, vae=bundle.vae, photos=photos, target=sockets["target"], seed=0, **settings,
        save_as="album/photo",
    )[0]  # fmt: skip
    assert len(learned) == 2 and "#2" in report
    assert len(headless_host.list_models("imagic")) == 2
    sweeps, sheet = run_node(
        "SweepPhotos", model=bundle.model, vae=bundle.vae, learned=learned, target=sockets["target"],
        negative=sockets["negative"], scorer=scorer, prompt="a person with glasses", source="a person", etas="0, 1",
        seeds=1, **SAMPLING,
    )[0]  # fmt: skip
    assert sheet.shape[0] == 1
    images, etas, plot, report = run_node("ReachCommonState", sweeps=sweeps, example=1, example_eta=0.5, shift=0.0)[0]
    assert images.shape == photos.shape and len(etas) == 2 and "of 2 photos" in report
    assert all(eta in (0.0, 1.0) or 0 < eta < 1 for eta in etas)
    with pytest.raises(InputError, match="photo 3 of 2"):
        run_node("ReachCommonState", sweeps=sweeps, example=3, example_eta=0.0, shift=0.0)


def test_a_sweep_stops_within_a_picture(run_node, bundle, sockets, photo, headless_host, monkeypatch):
    calls, model = [], bundle.model
    denoise = type(model).denoise

    def counted(self, *args):
        calls.append(1)
        if len(calls) == 3:
            headless_host.interrupt()
        return denoise(self, *args)

    monkeypatch.setattr(type(model), "denoise", counted)
    inputs = {name: sockets[name] for name in ("model", "latent", "target", "negative")}
    with pytest.raises(headless_host.stopped):
        run_node("SweepEta", **inputs, vae=bundle.vae, optimised=sockets["negative"], photo=photo, etas="0.5", seeds=1,
                 **{**SAMPLING, "steps": 20})  # fmt: skip
    headless_host.resume()
    assert len(calls) <= 5
