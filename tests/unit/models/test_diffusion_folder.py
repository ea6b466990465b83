"""Diffusers folders: the same text, pictures and samples as diffusers' own pipelines; wrong folders are refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from semantic_edit.models.diffusion.folder import is_diffusers_folder, load_diffusion
from semantic_edit.models.diffusion.sampling import SAMPLERS, SCHEDULES, calculate_sigmas, prepare_noise, sample
from semantic_edit.models.diffusion.text import weighted_pieces
from semantic_edit.models.errors import InputError

pytest.importorskip("transformers")
SENTENCE = "a person with glasses and a red hat, smiling"


@pytest.fixture(scope="module")
def folders(tmp_path_factory, forge_diffusion):
    """Folder and its prediction, by kind."""
    top = tmp_path_factory.mktemp("pipelines")
    return {
        "sd1": forge_diffusion(top / "one", "sd1"),
        "sd2": forge_diffusion(top / "two", "sd2", "v_prediction"),
        "sdxl": forge_diffusion(top / "three", "sdxl"),
    }


@pytest.fixture(scope="module")
def bundles(folders):
    return {kind: load_diffusion(folder) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def pipelines(folders):
    import diffusers

    return {
        kind: (diffusers.StableDiffusionXLPipeline if kind == "sdxl" else diffusers.StableDiffusionPipeline)
        .from_pretrained(str(folder), local_files_only=True, low_cpu_mem_usage=False)
        for kind, folder in folders.items()
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_text_is_encoded_as_the_pipeline_does(bundles, pipelines, kind):
    embedding, extras = bundles[kind].clip.encode(SENTENCE)
    with torch.no_grad():
        expected = pipelines[kind].encode_prompt(SENTENCE, device="cpu", num_images_per_prompt=1,
                                                 do_classifier_free_guidance=False)  # fmt: skip
    torch.testing.assert_close(embedding, expected[0].float(), rtol=0, atol=1e-5)
    if kind == "sdxl":
        torch.testing.assert_close(extras["pooled_output"], expected[2].float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_samples_are_those_of_the_pipeline(bundles, pipelines, kind):
    """Euler on four levels that both schedules put at whole timesteps: 999, 666, 333, 0."""
    bundle, pipeline = bundles[kind], pipelines[kind]
    noise = prepare_noise(torch.zeros(1, 4, 8, 8), 11)
    # diffusers begins with sigma times the noise on this spacing, ComfyUI with the whole variance, 1 + sigma ** 2.
    begun = noise * (1 + bundle.model.sigma_max**2) ** 0.5 / bundle.model.sigma_max
    pipeline.set_progress_bar_config(disable=True)
    size = 8 * bundle.vae.downscale_ratio
    expected = pipeline(SENTENCE, negative_prompt="", guidance_scale=3.0, num_inference_steps=4, latents=begun,
                        height=size, width=size, output_type="latent").images  # fmt: skip
    positive, negative = (bundle.clip.encode_from_tokens_scheduled(text) for text in (SENTENCE, ""))
    latents = sample(bundle.model, torch.zeros(1, 4, 8, 8), positive, negative, "euler", "normal", 4, 3.0, seed=11)
    torch.testing.assert_close(latents * bundle.model.latent.scale, expected.float(), rtol=2e-3, atol=2e-3)


def test_pictures_go_there_and_back_as_in_the_pipeline(bundles, pipelines):
    vae = bundles["sd1"].vae
    images = torch.rand(9, 21, 17, 3, generator=torch.Generator().manual_seed(1))
    latent = vae.encode(images)
    assert latent.shape == (9, 4, 10, 8) and latent.dtype == torch.float32
    with torch.no_grad():
        cropped = images[:, :20, :16].movedim(-1, 1) * 2 - 1  # one row and one column less, about the middle
        expected = pipelines["sd1"].vae.encode(cropped).latent_dist.mean
        pictures = pipelines["sd1"].vae.decode(expected).sample
    torch.testing.assert_close(latent, expected, rtol=0, atol=1e-5)
    decoded = vae.decode(latent)
    assert decoded.shape == (9, 20, 16, 3) and 0 <= decoded.min() and decoded.max() <= 1
    torch.testing.assert_close(decoded, (pictures.movedim(1, -1) / 2 + 0.5).clamp(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_every_sampler_repeats_itself_and_ends_clean(bundles, sampler, scheduler):
    bundle = bundles["sd1"]
    positive, negative = (bundle.clip.encode_from_tokens_scheduled(text) for text in (SENTENCE, ""))
    reports = []
    samples = [
        sample(bundle.model, torch.zeros(2, 4, 4, 4), positive, negative, sampler, scheduler, 3, 2.0, seed=5,
               progress=lambda step, total: reports.append((step, total)))
        for _ in range(2)
    ]  # fmt: skip
    assert torch.equal(*samples) and torch.isfinite(samples[0]).all()
    levels = calculate_sigmas(bundle.model, scheduler, 3)
    assert levels[-1] == 0 and bool((levels.diff() < 0).all())
    assert reports[: len(levels) - 1] == [(step + 1, len(levels) - 1) for step in range(len(levels) - 1)]


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(1, 40), denoise=st.floats(0.05, 1.0), scheduler=st.sampled_from(SCHEDULES))
def test_less_denoising_starts_later_on_a_longer_schedule(bundles, steps, denoise, scheduler):
    model = bundles["sd1"].model
    levels = calculate_sigmas(model, scheduler, steps, denoise)
    assert levels[-1] == 0 and len(levels) >= 2 and float(levels[0]) <= model.sigma_max * 1.0001
    full = calculate_sigmas(model, scheduler, steps)
    assert float(levels[0]) <= float(full[0]) * 1.0001


def test_the_simple_schedule_takes_the_levels_that_comfyui_takes(bundles):
    """38 steps, or 19 at half the noise: a thousand levels times 19 / 38 fall on a whole number, or just below it."""
    model = bundles["sd1"].model
    stride = 1000 / 38
    expected = [model.schedule.sigmas[-(1 + int(step * stride))] for step in range(38)]
    assert torch.equal(calculate_sigmas(model, "simple", 38), torch.stack([*expected, torch.tensor(0.0)]))


def test_a_mask_keeps_the_rest(bundles):
    bundle = bundles["sd1"]
    positive, negative = (bundle.clip.encode_from_tokens_scheduled(text) for text in (SENTENCE, ""))
    latent = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(1, 16, 16)
    mask[:, :8] = 1
    for sampler in ("euler", "ddim"):
        changed = sample(bundle.model, latent, positive, negative, sampler, "karras", 3, 2.0, 0.7, 1, mask)
        torch.testing.assert_close(changed[:, :, 5:], latent[:, :, 5:], rtol=0, atol=1e-4)
        assert (changed[:, :, :3] - latent[:, :, :3]).abs().mean() > 0.1
    assert torch.equal(sample(bundle.model, latent, positive, negative, denoise=0.0), latent)


def test_noise_of_a_batch_is_that_of_its_places():
    batch_noise = torch.cat([prepare_noise(torch.zeros(1, 4, 2, 2), 3, [index]) for index in (0, 2)])
    assert torch.equal(prepare_noise(torch.zeros(2, 4, 2, 2), 3, [0, 2]), batch_noise)
    assert torch.equal(prepare_noise(torch.zeros(1, 4, 2, 2), 3), batch_noise[:1])


def test_weights_pull_words_apart(bundles):
    clip = bundles["sd1"].clip
    plain, heavier = (clip.encode(text)[0] for text in ("a red hat", "a (red:1.5) hat"))
    empty = clip.encode("")[0]
    # Start, "a", "red": only "red" is weighted, as its distance from the empty sentence.
    torch.testing.assert_close(heavier[:, 2], empty[:, 2] + 1.5 * (plain[:, 2] - empty[:, 2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(heavier[:, [0, 1, 3, 4]], plain[:, [0, 1, 3, 4]], rtol=0, atol=1e-5)
    assert list(weighted_pieces(r"a (b (c:2)) \(d\) (e")) == [
        ("a ", 1.0), ("b ", 1.1), ("c", 2.0), (r" (d) ", 1.0), ("(e", 1.0)]  # fmt: skip
    # ComfyUI's answers where parentheses do not match, and for other ways to write a number.
    assert list(weighted_pieces("a smile :) (a hat:1.2)")) == [("a smile :) (a hat:1.2)", 1.0)]
    assert list(weighted_pieces("(a (b:1.2)")) == [("a ", 1.2), ("(b", 1.2)]
    assert list(weighted_pieces("(a:5e-1)(:2)()")) == [("a", 0.5), (":2", 1.1)]


def test_a_long_sentence_goes_on_in_another_row(bundles):
    embedding, extras = bundles["sd1"].clip.encode("smiling " * 100)
    assert embedding.shape == (1, 154, 32) and extras["pooled_output"].shape == (1, 32)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"sampler": "dpmpp_sde"}, "sampler 'dpmpp_sde' is not offered outside ComfyUI; choose one of euler"),
        ({"scheduler": "beta"}, "scheduler 'beta' is not offered outside ComfyUI; choose one of simple"),
        ({"positive": []}, "positive conditioning has 0 entries"),
        ({"negative": [[torch.zeros(1, 77, 32), {"start_percent": 0.5}]]}, "carries start_percent"),
        ({"positive": [[torch.zeros(1, 77, 31), {}]]}, "31 wide"),
        ({"latent": torch.ones(1, 3, 4, 4)}, r"\[1, 3, 4, 4\]"),
    ],
)
def test_what_cannot_be_sampled_is_refused(bundles, inputs, said):
    plain = [[torch.zeros(1, 77, 32), {}]]
    given_inputs = {"latent": torch.zeros(1, 4, 4, 4), "positive": plain, "negative": plain, **inputs}
    with pytest.raises(InputError, match=said):
        sample(bundles["sd1"].model, **given_inputs)


def test_textual_inversions_and_wrong_latents_are_refused(bundles):
    with pytest.raises(InputError, match="ComfyUI only"):
        bundles["sd1"].clip.encode("a embedding:style")
    with pytest.raises(InputError, match=r"takes \[B, 4, h, w\]"):
        bundles["sd1"].vae.decode(torch.zeros(1, 3, 4, 4))
    with pytest.raises(InputError, match="at least 2 pixels"):
        bundles["sd1"].vae.encode(torch.zeros(1, 1, 9, 3))


def changed(folder, **values):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def described(component, **values):
    """Change values of a component's description."""
    path = next(path for path in (component / "config.json", component / "scheduler_config.json") if path.is_file())
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def without_weight(component):
    path = component / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_norm_out.bias"]
    save_file(weights, path, {"format": "pt"})


def cut(path):
    """A pair that joins a word which is not there."""
    words = json.loads(path.read_text())
    words["model"]["merges"].insert(0, ["zzz", "yyy"])
    path.write_text(json.dumps(words))


DAMAGE = {
    "no folder": (lambda folder: shutil.rmtree(folder), "There is no folder"),
    "no index": (lambda folder: (folder / "model_index.json").unlink(), "no diffusers folder"),
    "broken index": (lambda folder: (folder / "model_index.json").write_text("{"), "not JSON"),
    "another model": (lambda folder: changed(folder, unet=["diffusers", "FluxTransformer2DModel"]), "only Stable"),
    "pickles": (
        lambda folder: [path.rename(path.with_suffix(".bin")) for path in (folder / "unet").glob("*.safetensors")],
        "only pickles",
    ),
    "no weights": (lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(), "no weights"),
    "truncated": (
        lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 64),
        "unet of sd1 cannot be read",
    ),
    "no tokenizer": (lambda folder: shutil.rmtree(folder / "tokenizer"), "tokenizer of sd1 cannot be read"),
    "zero terminal": (
        lambda folder: (folder / "scheduler" / "scheduler_config.json").write_text('{"rescale_betas_zero_snr": true}'),
        "not supported outside ComfyUI",
    ),
    "index of odd types": (lambda folder: changed(folder, unet=["diffusers", [1, 2]], vae=[1]), "only Stable"),
    "a weight is missing": (
        lambda folder: without_weight(folder / "unet"),
        "lacks 1 of its weights, conv_norm",
    ),
    "a vast network": (lambda folder: described(folder / "unet", layers_per_block=10**9), "1000000000 for 'layers_per"),
    "odd description": (lambda folder: described(folder / "vae", block_out_channels="x"), "vae of sd1 cannot be read"),
    "odd scale": (lambda folder: described(folder / "vae", scaling_factor=None), "expected a number"),
    "odd shift": (lambda folder: described(folder / "vae", shift_factor=[1]), "for 'shift_factor'"),
    "odd betas": (lambda folder: described(folder / "scheduler", beta_start=[0]), "betas from"),
    "endless schedule": (lambda folder: described(folder / "scheduler", num_train_timesteps=10**9), "timesteps"),
    "damaged words": (lambda folder: cut(folder / "tokenizer" / "tokenizer.json"), "tokenizer of sd1 cannot be read"),
    "prediction": (
        lambda folder: (folder / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "sample"}'),
        "predicts 'sample'",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_wrong_folders_are_refused(folders, tmp_path, damage):
    folder = tmp_path / "sd1"
    shutil.copytree(folders["sd1"], folder)
    assert is_diffusers_folder(folder)
    breaking, said = DAMAGE[damage]
    breaking(folder)
    with pytest.raises(InputError, match=said):
        load_diffusion(folder)


def test_one_weight_of_another_type_is_cast_after_loading(folders, bundles, tmp_path, capfd):
    """A float32 tensor among float16, and the other way round, as mixed exports have them."""
    folder = tmp_path / "mixed"
    shutil.copytree(folders["sd1"], folder)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {name: tensor.half() for name, tensor in load_file(file).items()}
    name = "mid_block.resnets.0.conv1.weight"
    save_file(weights | {name: weights[name].float()}, file)
    bundle = load_diffusion(folder, dtype=torch.float16)
    assert {p.dtype for p in bundle.model.network.parameters()} == {torch.float16}
    save_file(weights | {name: weights[name].float()}, file)
    bundle = load_diffusion(folder)
    assert {p.dtype for p in bundle.model.network.parameters()} == {torch.float32}
    assert "kept in float32" not in capfd.readouterr().err  # diffusers' own cast complains at every load
    close = bundles["sd1"].model.network.state_dict()[name]
    torch.testing.assert_close(bundle.model.network.state_dict()[name], close, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("channels", "said"), [(9, "for inpainting"), (8, r"pix2pix"), (7, "of another kind")])
def test_networks_that_see_a_second_picture_are_refused_at_load(folders, tmp_path, channels, said):
    folder = tmp_path / "inpaint"
    shutil.copytree(folders["sd1"], folder)
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"in_channels": channels}))
    with pytest.raises(InputError, match=f"takes {channels} channels where the vae makes 4: a model {said}|{said}"):
        load_diffusion(folder)


def test_a_description_of_a_far_larger_network_is_refused_before_it_is_built(folders, tmp_path):
    """Each width is plausible alone: no larger than the largest side of a tensor."""
    folder = tmp_path / "vast"
    shutil.copytree(folders["sd1"], folder)
    config = json.loads((folder / "unet" / "config.json").read_text())
    more = {"block_out_channels": [256, 256], "layers_per_block": 60}
    (folder / "unet" / "config.json").write_text(json.dumps(config | more))
    with pytest.raises(InputError, match="The unet of vast cannot be read: Its config.json describes a network of"):
        load_diffusion(folder)
