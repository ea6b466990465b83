"""Imagic's stages as people wire them: an embedding, a tuned model, what lies between, a file and back."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.headless.run.catalog import core_nodes
from semantic_edit.models.errors import CheckpointError, InputError

pytest.importorskip("transformers")
STAGE1 = {"steps": 3, "rate": 0.05, "draws": 2, "seed": 0}
STAGE2 = {"method": "LoRA", "steps": 3, "rate": 1e-2, "rank": 2, "draws": 2, "blocks": "all", "seed": 0}
SAMPLING = {"seed": 3, "steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal"}


def weights(model):
    return [tensor.clone() for tensor in model.network.parameters()]


def unchanged(before, model):
    return all(torch.equal(a, b) for a, b in zip(before, model.network.parameters(), strict=True))


def test_the_three_stages_and_back_from_a_file(run_node, bundle, sockets, photo):
    before = weights(bundle.model)
    first = {name: sockets[name] for name in ("model", "latent", "target")}
    optimised, plot, report = run_node("OptimizeEmbedding", **first, **STAGE1)[0]
    assert plot.shape[0] == 1 and plot.shape[-1] == 3 and "embedding moved" in report
    assert set(optimised[0][1]) == set(sockets["target"][0][1])
    second = {name: sockets[name] for name in ("model", "latent")}
    tuned, lora, same, _, _ = run_node("TuneModel", **second, conditioning=optimised, **STAGE2)[0]
    assert torch.equal(same[0][0], optimised[0][0]) and lora and unchanged(before, bundle.model)
    assert not unchanged(before, tuned)

    middle, values, _ = run_node(
        "InterpolateEmbedding", optimised=optimised, target=sockets["target"], eta=0.5, form="linear"
    )[0]
    assert values == [0.5] and len(middle) == 1
    many, values, report = run_node(
        "InterpolateEmbedding",
        optimised=optimised,
        target=sockets["target"],
        eta=0.5,
        form="linear",
        etas="0 to 1 in 3",
    )[0]
    assert report == "All of the text is mixed."
    assert values == [0.0, 0.5, 1.0] and torch.equal(many[1][0][0], middle[0][0][0])

    file = run_node("SaveImagicEdit", optimised=optimised, lora=lora, name="anna", prompt="with glasses")[0][0]
    again, embedding, loaded, prompt = run_node("LoadImagicEdit", model=bundle.model, file=file)[0]
    assert prompt == "with glasses" and torch.equal(embedding[0][0], optimised[0][0])
    assert all(torch.equal(lora[name], loaded[name]) for name in lora)
    assert unchanged(weights(tuned), again)
    plain = run_node("ApplyTuning", model=bundle.model, lora=lora, strength=0.0, forget="nothing")[0][0]
    assert unchanged(before, plain)
    partial = run_node("ApplyTuning", model=bundle.model, lora=lora, strength=1.0, forget="encoder")[0][0]
    assert not unchanged(before, partial) and not unchanged(weights(tuned), partial)


def test_a_held_model_paints_the_photo_as_before(run_node, bundle, sockets, photo):
    before = weights(bundle.model)
    inputs = dict(vae=bundle.vae, optimised=sockets["target"], photo=photo, etas="0, 1", seeds=1, **SAMPLING)
    inputs |= dict(latent=sockets["latent"], negative=sockets["negative"], target=sockets["negative"])
    held = run_node("HoldLayout", model=bundle.model, optimised=sockets["target"], share=0.5)[0][0]
    plain, steady = (run_node("SweepEta", model=model, **inputs)[0][1] for model in (bundle.model, held))
    assert torch.allclose(plain[0], steady[0], atol=1e-4) and not torch.equal(plain[1], steady[1])
    assert unchanged(before, bundle.model)


def test_texts_of_several_windows_meet_where_the_model_allows_it(run_node, bundle, sockets):
    """SD 1 attends to a text repeated as to the text; of SDXL's two encoders that is not known here."""
    words, extras = bundle.clip.encode("a person with glasses " * 20)
    inputs = dict(optimised=sockets["target"], target=[[words, extras]], eta=0.0, form="linear")
    assert words.shape[1] == 154
    if bundle.clip.before_last:
        mixed, _, report = run_node("InterpolateEmbedding", **{**inputs, "eta": 0.5})[0]
        assert mixed[0][0][0].shape[1] == 154 and "77 and 154 tokens" in report and "attends to" in report
        return
    between = run_node("InterpolateEmbedding", **{**inputs, "eta": 1e-9})[0][0][0]
    assert between[0][0].shape[1] == 154
    sampled = [
        core_nodes()["KSampler"].execute(
            model=bundle.model, positive=conditioning, negative=sockets["negative"], latent_image=sockets["latent"],
            denoise=1.0, **SAMPLING,
        ).result[0]["samples"]
        for conditioning in (sockets["target"], between)
    ]  # fmt: skip
    assert torch.allclose(*sampled, atol=1e-4)


def test_the_same_seed_gives_the_same_bytes(run_node, sockets):
    first = {name: sockets[name] for name in ("model", "latent", "target")}
    a, b = (run_node("OptimizeEmbedding", **first, **STAGE1)[0][0] for _ in range(2))
    assert torch.equal(a[0][0], b[0][0])
    second = {name: sockets[name] for name in ("model", "latent")}
    a, b = (run_node("TuneModel", **second, conditioning=a, **STAGE2)[0][1] for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_wrong_inputs_are_refused_before_the_work(run_node, bundle, sockets, photo, headless_host):
    first = {name: sockets[name] for name in ("model", "latent", "target")}
    empty = {"samples": torch.zeros_like(sockets["latent"]["samples"])}
    two = {"samples": sockets["latent"]["samples"].repeat(2, 1, 1, 1)}
    other = {"samples": torch.ones(1, 9, 8, 8)}
    for latent, message in (
        (empty, "all zeros"),
        (two, "Got 2 photos"),
        (other, "VAE of the same model"),
        ({}, "VAE Encode"),
    ):
        with pytest.raises(InputError, match=message):
            run_node("OptimizeEmbedding", **{**first, "latent": latent}, **STAGE1)
    wide = [[torch.randn(1, 77, 11), dict(sockets["target"][0][1])]]
    with pytest.raises(InputError, match="11 wide"):
        run_node("OptimizeEmbedding", **{**first, "target": wide}, **STAGE1)
    second = {name: sockets[name] for name in ("model", "latent")}
    for change, message in (
        ({"method": "DoRA"}, "DoRA"),
        ({"blocks": "nose"}, "nose"),
        ({"noise_from": 0.8, "noise_to": 0.2}, "0.8 to 0.2"),
    ):
        with pytest.raises(InputError, match=message):
            run_node("TuneModel", **second, conditioning=sockets["target"], **{**STAGE2, **change})
    with pytest.raises(InputError, match="etas"):
        run_node(
            "InterpolateEmbedding",
            optimised=sockets["target"],
            target=sockets["target"],
            eta=0.5,
            form="linear",
            etas="high",
        )
    with pytest.raises(InputError, match="another model"):
        run_node(
            "ApplyTuning", model=bundle.model, lora={"lora_unet_x.diff": torch.ones(2)}, strength=1.0, forget="nothing"
        )
    with pytest.raises(InputError, match="name is empty"):
        run_node("SaveImagicEdit", optimised=sockets["target"], lora={}, name=" ")
    with pytest.raises(InputError, match="'..'"):
        run_node(
            "TunePhotos", model=bundle.model, vae=bundle.vae, photos=photo, target=sockets["target"], save_as="../up",
            embedding_steps=1, embedding_rate=0.1, tuning_steps=1, tuning_rate=0.1, rank=1, draws=1, seed=0,
        )  # fmt: skip
    damaged = headless_host.settings.models / "semantic_edit" / "imagic" / "damaged.safetensors"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no safetensors")
    with pytest.raises(CheckpointError, match="damaged"):
        run_node("LoadImagicEdit", model=bundle.model, file="damaged.safetensors")


def edit_of(model):
    """A change of one weight."""
    layer, weight = next((name, p) for name, p in model.network.named_parameters() if name.endswith("to_q.weight"))
    return {f"{model.lora_name(layer.removesuffix('.weight'))}.diff": torch.full(weight.shape, 0.1)}


def test_stopping_a_job_keeps_what_is_finished(run_node, bundle, sockets, photo, headless_host, monkeypatch):
    """The second photo is interrupted; the first one's file is there, and the model is as it was."""
    before, steps = weights(bundle.model), []

    def progress(total, label=""):
        def report(step, total, preview=None):
            steps.append(step)
            if step == 7:
                headless_host.interrupt()
            headless_host.check_interrupt()

        return report

    monkeypatch.setattr(headless_host, "progress", progress)
    with pytest.raises(headless_host.stopped):
        run_node(
            "TunePhotos", model=bundle.model, vae=bundle.vae, photos=torch.cat([photo, photo]),
            target=sockets["target"], embedding_steps=3, embedding_rate=0.05, tuning_steps=3, tuning_rate=1e-2, rank=2,
            draws=2, seed=0, save_as="a",
        )  # fmt: skip
    headless_host.resume()
    assert steps[-1] == 7 and len(headless_host.list_models("imagic")) == 1 and unchanged(before, bundle.model)
    steps.clear()
    report = run_node(
        "TunePhotos", model=bundle.model, vae=bundle.vae, photos=torch.cat([photo, photo]),
        target=sockets["target"], embedding_steps=3, embedding_rate=0.05, tuning_steps=3, tuning_rate=1e-2, rank=2,
        draws=2, seed=0, save_as="a",
    )[0][1]  # fmt: skip
    assert "#1: learned before" in report and "#2: learned before" in report, "equal photos are learned once"
    assert len(headless_host.list_models("imagic")) == 1
    words, extras = sockets["target"][0]
    tuned = run_node("ApplyTuning", model=bundle.model, lora=edit_of(bundle.model), strength=1.0, forget="nothing")[0]
    for change in ({"model": tuned[0]}, {"target": [[words, {**extras, "width": 64}]]},
                   {"target": [[words, {**extras, "pooled_output": extras["pooled_output"] + 1}]]}):  # fmt: skip
        inputs = {"model": bundle.model, "target": sockets["target"], **change}
        report = run_node(
            "TunePhotos", vae=bundle.vae, photos=photo, embedding_steps=3, embedding_rate=0.05, tuning_steps=3,
            tuning_rate=1e-2, rank=2, draws=2, seed=0, save_as="a", **inputs,
        )[0][1]  # fmt: skip
        assert "learned before" not in report, "another model and another sentence are learned again"


def calls_that_stop(monkeypatch, module, name):
    """The arguments of all calls of a function from now on, which end before any work."""
    calls = []

    def stop(*arguments):
        calls.append(arguments)
        raise InputError("that is enough")

    monkeypatch.setattr(module, name, stop)
    return calls


@pytest.mark.parametrize(("name", "steps", "rate"), [("Stable Diffusion", 1000, 2e-3), ("Imagen", 100, 1e-3)])
def test_imagic_s_published_rate_is_one_of_the_embedding_s_numbers(run_node, sockets, monkeypatch, name, steps, rate):
    """Ours is a share of the embedding's size: of an embedding of any size the same numbers move."""
    import semantic_edit.nodes.imagic.optimize_embedding as node

    calls = calls_that_stop(monkeypatch, node, "optimize_embedding")
    first = {key: sockets[key] for key in ("model", "latent")}
    for factor in (1.0, 7.0):
        target = [[sockets["target"][0][0] * factor, sockets["target"][0][1]]]
        with pytest.raises(InputError, match="enough"):
            run_node("OptimizeEmbedding", **first, target=target, preset=f"Imagic, {name}", draws=8)
        settings = calls[-1][3]
        size = float(target[0][0].square().mean().sqrt())
        assert settings.rate * size == pytest.approx(rate, rel=1e-4)
        assert (settings.steps, settings.draws, settings.pooled) == (steps, 1, False)


def test_imagic_s_published_tuning_trains_all_weights(run_node, sockets, monkeypatch):
    import semantic_edit.nodes.imagic.tune_model as node

    calls = calls_that_stop(monkeypatch, node, "tune_model")
    second = {key: sockets[key] for key in ("model", "latent")}
    with pytest.raises(InputError, match="enough"):
        run_node("TuneModel", **second, conditioning=sockets["target"], preset="Imagic, Stable Diffusion", rank=3)
    settings = calls[0][3]
    assert (settings.method, settings.steps, settings.rate, settings.draws) == ("all weights", 1500, 5e-7, 1)


@pytest.mark.parametrize("name", ["quick", "standard", "thorough"])
def test_presets_of_the_pack_learn_all_weights_and_the_file_says_how(
    run_node, bundle, sockets, headless_host, monkeypatch, name
):
    """The rate that was taken, and the rule it comes from, are read back from the file that the edit is saved in."""
    import semantic_edit.nodes.imagic.tune_model as node
    from semantic_edit.editing.imagic.rates import scaled_rate
    from semantic_edit.nodes.common.published import TUNING

    monkeypatch.setitem(TUNING, name, {**TUNING[name], "steps": 2})
    lines = []
    monkeypatch.setattr(node, "log", type("Log", (), {"info": staticmethod(lambda text, *more: lines.append(text))}))
    second = {key: sockets[key] for key in ("model", "latent")}
    tuned = run_node("TuneModel", **second, conditioning=sockets["target"], preset=name, stop_early=True)[0]
    assert "takes" in lines[0] and "per noise draw beside the model" in lines[0]
    numbers = sum(weight.numel() for weight in bundle.model.network.parameters())
    learning = tuned[1].learning
    assert learning["method"] == "all weights" and learning["preset"] == name
    assert learning["rate"] == scaled_rate(TUNING[name]["reference_rate"], numbers)
    file = run_node("SaveImagicEdit", optimised=tuned[2], lora=tuned[1], name=name)[0][0]
    again = run_node("LoadImagicEdit", model=sockets["model"], file=file)[0][2]
    assert again.learning == learning and all(torch.equal(again[key], tuned[1][key]) for key in tuned[1])


def test_a_photo_of_another_shape_and_sampling_keys_are_refused(run_node, bundle, sockets, photo):
    inputs = {name: sockets[name] for name in ("model", "latent", "target", "negative")}
    with pytest.raises(InputError, match="8 x 16 pixels.*another shape"):
        run_node("SweepEta", **inputs, vae=bundle.vae, optimised=sockets["negative"], photo=photo[:, :, :8], etas="0.5",
                 seeds=1, **SAMPLING)  # fmt: skip
    first = {name: sockets[name] for name in ("model", "latent")}
    words, extras = sockets["target"][0]
    for key, value in (("control", object()), ("start_percent", 0.3), ("end_percent", 0.9)):
        with pytest.raises(InputError, match=f"{key}.*sampling only"):
            run_node("OptimizeEmbedding", **first, target=[[words, {**extras, key: value}]], **STAGE1)
    timed = [[words, {**extras, "start_percent": 0.0, "end_percent": 1.0}]]
    assert "embedding moved" in run_node("OptimizeEmbedding", **first, target=timed, **STAGE1)[0][2]
