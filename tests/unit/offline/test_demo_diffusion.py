"""The demo diffusion model's training: every part runs, and its folder opens; what growth and centring promise."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from semantic_edit.demo.portraits.factors import sample_factors
from semantic_edit.demo.portraits.render import render
from semantic_edit.models.diffusion.folder import load_diffusion
from semantic_edit.models.diffusion.schedule import NoiseSchedule
from semantic_edit.offline.train_demo.__main__ import main
from semantic_edit.offline.train_demo.diffusion_growth import add_level, added_modules, latent_change
from semantic_edit.offline.train_demo.diffusion_network import alphas_cumprod
from semantic_edit.offline.train_demo.diffusion_pictures import SCALING, build_autoencoder, centre_latents, reconstruct
from semantic_edit.offline.train_demo.diffusion_text import random_description
from semantic_edit.offline.train_demo.sentences import portrait_phrases
from semantic_edit.offline.train_demo.sharpening.denoiser import factors_with_hats, sentence_for

pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("diffusion")
    main(["diffusion", "--out", str(out), "--smoke", "--threads", "1"])
    return out


def test_every_part_is_trained_and_the_folder_opens(trained):
    bundle = load_diffusion(trained / "demo_portraits")
    assert bundle.vae.encode(torch.zeros(1, 128, 128, 3)).shape == (1, 4, 16, 16)
    assert bundle.model.latent.scale == SCALING and bundle.model.prediction == "epsilon"
    embedding, extras = bundle.clip.encode("a person with a red hat")
    assert embedding.shape == (1, 77, 128) and extras["pooled_output"].shape == (1, 128)
    condition = bundle.model.condition(embedding, extras, (2, 4, 16, 16))
    assert bundle.model.denoise(torch.zeros(2, 4, 16, 16), torch.ones(2), condition).shape == (2, 4, 16, 16)
    log = (trained / "diffusion.log").read_text()
    assert all(f"{part} step 2" in log for part in ("pictures,", "text,", "denoiser,", "pictures of 128,", "decoder,"))
    assert not list((trained / "demo_portraits").rglob("*.bin"))


def test_old_programs_find_their_names(trained):
    from safetensors import safe_open

    folder = trained / "demo_portraits" / "text_encoder"
    with safe_open(str(folder / "model.safetensors"), "pt") as file:
        assert all(name.startswith("text_model.") for name in file.keys())
        assert file.get_tensor("text_model.final_layer_norm.weight").dtype == torch.float16
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"
    assert {path.name for path in (trained / "demo_portraits" / "tokenizer").iterdir()} == {
        "merges.txt", "vocab.json", "special_tokens_map.json", "tokenizer_config.json"}  # fmt: skip


def test_known_words_are_one_token_each(trained):
    tower = load_diffusion(trained / "demo_portraits").clip.towers[0]
    rows = tower.rows("a person with long ginger hair, a red hat and glasses")
    assert [token for token, _ in rows[0]].index(tower.tokenizer.eos_token_id) == 13  # twelve words and marks


def test_a_finished_training_resumes_to_the_same_model(trained, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(trained, again)
    shutil.rmtree(again / "demo_portraits")
    main(["diffusion", "--out", str(again), "--smoke", "--resume", "--threads", "1"])
    for part in ("unet", "vae", "text_encoder"):
        (first,) = (trained / "demo_portraits" / part).glob("*.safetensors")
        assert first.read_bytes() == (again / "demo_portraits" / part / first.name).read_bytes(), part


def test_a_model_that_is_there_is_sharpened(trained, tmp_path):
    shutil.copytree(trained / "demo_portraits", tmp_path / "start")
    shutil.copy(trained / "features.safetensors", tmp_path)
    main(["diffusion", "--out", str(tmp_path), "--smoke", "--threads", "1"])
    start, sharp = (load_diffusion(tmp_path / name) for name in ("start", "demo_portraits"))
    for old, new in ((start.vae.network, sharp.vae.network), (start.model.network, sharp.model.network)):
        assert any(not torch.equal(*pair) for pair in zip(old.parameters(), new.parameters(), strict=True))
    texts = (each.clip.encode("a person with a red hat")[0] for each in (start, sharp))
    assert torch.equal(*texts)
    assert json.loads((tmp_path / "demo_portraits" / "provenance.json").read_text())["started_from"]["seed"] == 83


def test_more_people_wear_hats_and_their_colours_are_said():
    factors = factors_with_hats(500, torch.Generator().manual_seed(3))
    portraits = portrait_phrases(factors)
    coloured = [portrait["hat"] for portrait in portraits if portrait["hat"] != "no hat"]
    assert len(factors) == 500 and 180 <= len(coloured) <= 220
    rng = torch.Generator().manual_seed(4)
    portrait = next(portrait for portrait in portraits if portrait["hat"] != "no hat")
    said = sum(portrait["hat"] in sentence_for(portrait, rng) for _ in range(300))
    assert said > 100  # a third insist; by chance it would be one in ten


@pytest.fixture(scope="module")
def inner():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return build_autoencoder(3, 64).eval()


def test_centred_latents_have_unit_variance_and_decode_to_the_same(inner):
    images = render(sample_factors(5, torch.Generator().manual_seed(1)), 64).images
    with torch.no_grad():
        before = reconstruct(inner, images)
        noise_before = inner.encode(images).latent_dist
        share_before = noise_before.std / noise_before.mean.std((0, 2, 3), keepdim=True)
        centre_latents(inner, images)
        after = inner.encode(images).latent_dist
    scaled = after.mean * SCALING
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(scaled.std((0, 2, 3)), torch.ones(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(reconstruct(inner, images), before, rtol=0, atol=1e-4)
    share_after = after.std / after.mean.std((0, 2, 3), keepdim=True)
    torch.testing.assert_close(share_after, share_before, rtol=1e-3, atol=1e-4)


def test_a_grown_autoencoder_begins_as_an_enlargement(inner):
    outer = add_level(inner, 128).eval()
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(2)) / SCALING
    with torch.no_grad():
        small, large = inner.decode(latents).sample, outer.decode(latents).sample
    assert large.shape == (2, 3, 128, 128)
    # The last convolution sees neighbours half as far away; everything before it is enlarged exactly.
    small = torch.nn.functional.interpolate(small, scale_factor=2.0)
    assert (small - large)[..., 2:-2, 2:-2].abs().mean() < 0.5 * small.std()
    added = sum(p.numel() for module in added_modules(outer) for p in module.parameters())
    outer_size, inner_size = (sum(p.numel() for p in network.parameters()) for network in (outer, inner))
    assert added > outer_size - inner_size and latent_change(inner, outer, torch.zeros(2, 3, 128, 128)) >= 0


def test_the_denoiser_learns_on_the_schedule_that_is_sampled():
    shares = alphas_cumprod()
    torch.testing.assert_close(((1 - shares) / shares).sqrt(), NoiseSchedule.discrete().sigmas, rtol=1e-4, atol=0)


def test_sentences_with_a_strange_word_say_the_same():
    known = portrait_phrases(sample_factors(40, torch.Generator().manual_seed(3)))
    plain = [random_description(entry, torch.Generator().manual_seed(i), strange=0.0) for i, entry in enumerate(known)]
    strange = [
        random_description(entry, torch.Generator().manual_seed(i), strange=1.0) for i, entry in enumerate(known)
    ]
    for first, second in zip(plain, strange, strict=True):
        assert first.conditions == second.conditions
        assert len(second.text.split(" ")) == len(first.text.split(" ")) + 1
