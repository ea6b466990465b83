"""A pair edit as people wire it: two pictures to a slider, photos to noise and back, a file that is a LoRA."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing.common.types import EditStrength
from semantic_edit.headless.run.catalog import core_nodes
from semantic_edit.models.diffusion.folder import load_diffusion
from semantic_edit.models.errors import CheckpointError, InputError
from semantic_edit.models.files.pair_edit import read_pair_edit, write_pair_edit
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.nodes.pair import learn_pair_edit as learn_node

pytest.importorskip("transformers")
allow_declaring()  # a CPU wheel of torch has no operators for torchvision
LEARNING = {"steps": 3, "content_steps": 2, "rate": 1e-2, "rank": 2, "draws": 2, "seed": 0}


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def bundle(request, tmp_path_factory, forge_diffusion):
    return load_diffusion(forge_diffusion(tmp_path_factory.mktemp("pipeline"), request.param))


@pytest.fixture
def pictures():
    ramp = torch.linspace(0, 1, 16)
    one = torch.stack([ramp[:, None].expand(16, 16), ramp[None].expand(16, 16), torch.full((16, 16), 0.4)], -1)[None]
    return torch.cat([one, one.flip(1), one.flip(2)])


@pytest.fixture
def wires(bundle, pictures):
    before, after = pictures[:1], pictures[:1].clone()
    after[:, 4:8] = 0.9
    sentence = [list(bundle.clip.encode("a person"))]
    return {"model": bundle.model, "conditioning": sentence}, {"vae": bundle.vae, "before": before, "after": after}


def test_one_pair_moves_three_photos_and_comes_back_from_a_file(run_node, bundle, wires, pictures):
    common, pair = wires
    weights = [tensor.clone() for tensor in bundle.model.network.parameters()]
    edit, lora, plot, report = run_node("LearnPairEdit", **common, **pair, **LEARNING)[0]
    assert plot.shape[0] == 1 and "loss on fixed noise" in report and set(lora) == set(edit.lora)
    photos = {"samples": bundle.vae.encode(pictures), "batch_index": [0, 1, 2]}
    inverted = run_node("InvertToNoise", **common, latent=photos, steps=3)[0][0]
    applying = {**common, "edit": edit, "latent": photos, "steps": 3}
    strengths = EditStrength(torch.tensor([0.0, 1.0, -1.0]))
    edited = run_node("ApplyPairEdit", **applying, strengths=strengths)[0][0]
    assert edited["batch_index"] == [0, 1, 2] and edited["samples"].shape == photos["samples"].shape
    cheap = run_node("ApplyPairEdit", **applying, strengths=strengths, inverted=inverted)[0][0]
    assert torch.allclose(cheap["samples"], edited["samples"], atol=1e-3)
    for k, strength in enumerate((0.0, 1.0, -1.0)):
        one = {"samples": photos["samples"][k : k + 1]}
        alone = run_node("ApplyPairEdit", **{**applying, "latent": one}, strength=strength)[0][0]
        assert torch.equal(alone["samples"][0], edited["samples"][k])
    (file,), shown = run_node("SavePairEdit", edit=edit, name="glasses", notes="of one pair")
    assert file.startswith("glasses") and file in str(shown)
    loaded, plain, told = run_node("LoadPairEdit", file=file)[0]
    assert loaded.provenance["notes"] == "of one pair" and told == report
    again = run_node("ApplyPairEdit", **{**applying, "edit": loaded}, strengths=strengths)[0][0]
    assert torch.equal(again["samples"], edited["samples"])
    localized, chart, text, told = run_node("LocalizePairEdit", **common, **pair, edit=edit, steps=2, area=0.3, seed=0)[
        0
    ]
    assert chart.shape[0] == 1 and "blocks stay" in told and set(localized.lora) == set(edit.lora)
    as_found = run_node("ApplyPairEdit", **{**applying, "edit": localized}, strengths=strengths)[0][0]
    by_hand = run_node("ApplyPairEdit", **applying, strengths=strengths, strength_per_block=text)[0][0]
    assert torch.equal(as_found["samples"], by_hand["samples"]) and not torch.equal(
        as_found["samples"], edited["samples"]
    )
    patched = core_nodes()["LoraModelLoader"].execute(bundle.model, plain, 1.0).result[0]
    assert not torch.equal(next(iter(patched.network.parameters())), weights[0])
    assert all(torch.equal(a, b) for a, b in zip(weights, bundle.model.network.parameters(), strict=True))


def test_wrong_wires_are_told(run_node, bundle, wires, pictures, monkeypatch):
    common, pair = wires
    with pytest.raises(InputError, match="contradict each other"):
        both = [torch.cat([pair["before"], pair["after"]]), torch.cat([pair["after"], pair["before"]])]
        run_node("LearnPairEdit", **common, **{**pair, "before": both[0], "after": both[1]}, **LEARNING)
    with monkeypatch.context() as little, pytest.raises(InputError, match="Learning a pair edit needs about"):
        little.setattr(learn_node, "free_memory", lambda denoiser: 1000)
        run_node("LearnPairEdit", **common, **pair, **LEARNING)
    with pytest.raises(InputError, match="before has 16 x 16 pixels and the one after 8 x 16"):
        run_node("LearnPairEdit", **common, **{**pair, "after": pair["after"][:, :, :8]}, **LEARNING)
    with pytest.raises(InputError, match="1 pictures before and 2 after"):
        run_node("LearnPairEdit", **common, **{**pair, "after": pictures[:2]}, **LEARNING)
    with pytest.raises(InputError, match="no difference"):
        run_node("LearnPairEdit", **common, **{**pair, "after": pair["before"]}, **LEARNING)
    edit = run_node("LearnPairEdit", **common, **pair, **LEARNING)[0][0]
    photos = {"samples": bundle.vae.encode(pictures)}
    with pytest.raises(InputError, match="2 strengths, .* for 3 pictures"):
        strengths = EditStrength(torch.ones(2))
        run_node("ApplyPairEdit", **common, edit=edit, latent=photos, steps=2, strengths=strengths)
    with pytest.raises(InputError, match="no block 'nowhere'"):
        run_node("ApplyPairEdit", **common, edit=edit, latent=photos, steps=2, strength_per_block="nowhere: 1")
    with pytest.raises(InputError, match="before has 16 x 16 pixels"):
        smaller = {**pair, "after": pair["after"][:, :, :8]}
        run_node("LocalizePairEdit", **common, **smaller, edit=edit, steps=2, area=0.3, seed=0)
    with pytest.raises(InputError, match="takes no reference latents"):
        run_node("LearnPairEdit", **common, **pair, **LEARNING, reference=True)
    with pytest.raises(InputError, match="SliderEdit learns from a sentence"):
        run_node("LearnPairEdit", **common, **pair, **LEARNING, loss="SliderEdit")
    other = replace(edit, lora={key.replace("unet_", "unet_x_"): tensor for key, tensor in edit.lora.items()})
    with pytest.raises(InputError, match="does not fit"):
        run_node("ApplyPairEdit", **common, edit=other, latent=photos, steps=2)
    with pytest.raises(InputError, match="empty"):
        run_node("SavePairEdit", edit=edit, name=" ")


def test_a_file_of_another_kind_or_damaged_is_refused(tmp_path):
    tensors = {
        "a.lora_up.weight": torch.ones(3, 2),
        "a.lora_down.weight": torch.ones(2, 4),
        "a.alpha": torch.tensor(2.0),
    }
    path = write_pair_edit(tmp_path / "x.safetensors", tensors, "model", {"smile": (-0.2, 0.8)}, {"notes": "n"})
    fields = read_pair_edit(path)
    assert fields["states"] == {"smile": (-0.2, 0.8)} and fields["model"] == "model"
    assert set(fields["lora"]) == set(tensors), "at the top level, where LoRA loaders look"
    for wrong, words in (
        ({"a.alpha": torch.tensor(1)}, "finite numbers"),
        ({"a.alpha": torch.tensor(float("nan"))}, ""),
        ({"a.alpha": torch.tensor(1e30)}, "alpha"),
    ):
        with pytest.raises(CheckpointError, match=words):
            read_pair_edit(write_pair_edit(tmp_path / "y.safetensors", {**tensors, **wrong}))
    with pytest.raises(CheckpointError, match="states should be two numbers"):
        read_pair_edit(write_pair_edit(tmp_path / "z.safetensors", tensors, "", {"smile": (1.0,)}))


def test_photos_reach_the_state_of_the_pair_in_one_node(run_node, bundle, wires, pictures):
    common, pair = wires
    edit = run_node("LearnPairEdit", **common, **pair, **LEARNING)[0][0]
    photos = {"samples": bundle.vae.encode(pictures)}
    noise = run_node("InvertToNoise", **common, latent=photos, steps=3)[0][0]
    inputs = {**common, "vae": bundle.vae, "edit": edit, "latent": photos, "steps": 3, "strengths": "-1, 0, 1",
              "inverted": noise}  # fmt: skip
    examples = {"before": pair["before"], "after": pair["after"]}
    (images, strengths, numbers, plot, report), _ = run_node("ReachStateWithPairEdit", **inputs, **examples, rounds=1)
    assert images.shape == pictures.shape and plot.shape[0] == 1 and numbers == strengths.alpha.tolist()
    assert len(numbers) == 3 and all(-1 <= number <= 1 for number in numbers)
    assert "pictures are at the state" in report and "photo 3: " in report and "pictures drawn" in report
    applied = run_node("ApplyPairEdit", **{name: inputs[name] for name in ("model", "conditioning", "edit", "latent")},
                       steps=3, strengths=strengths, inverted=noise)[0][0]  # fmt: skip
    moved = strengths.alpha != 0  # where it is 0 the photo itself comes out
    drawn = torch.where(moved[:, None, None, None], applied["samples"], photos["samples"])
    torch.testing.assert_close(bundle.vae.decode(drawn).clamp(0, 1), images, atol=2e-3, rtol=0)
    (reader, _), _ = run_node("ReadFromExample", before=pictures[:1], after=pictures[:1] / 2, **common, vae=bundle.vae)
    (_, _, numbers, *_), _ = run_node("ReachStateWithPairEdit", **inputs, reader=reader, rounds=0, aim="median")
    assert len(numbers) == 3
    for change, sentence in (
        ({}, "missing: before, after"),
        ({"before": pair["before"]}, "missing: after"),
        ({**examples, "reader": reader}, "connect the reader, or before and after"),
        ({**examples, "after": pair["after"][:, :8]}, "both have to be of one size"),
        ({**examples, "example_picture": pair["after"]}, "choose 'picture'"),
        ({**examples, "strengths": "2"}, "expected 2 or more"),
        ({**examples, "latent": {}}, "holds no samples"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_node("ReachStateWithPairEdit", **{**inputs, **change})
