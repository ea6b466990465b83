"""The text-image scorer: open_clip's models from files, and edits trained by their opinion."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from semantic_edit.demo.portraits.captions import caption
from semantic_edit.demo.portraits.factors import INDEX, sample_factors
from semantic_edit.demo.portraits.render import render
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.text.clip_loss import TextGoal, augmented_copies
from semantic_edit.editing.text.settings import CHANGES, MASKS, TextEditSettings
from semantic_edit.editing.text.training import train_text_edit, training_report
from semantic_edit.models.errors import CheckpointError, InputError
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.models.scorers.files import CONFIG_NAME, describe_scorer, recognise
from semantic_edit.models.scorers.names import from_transformers
from semantic_edit.models.scorers.scorer import import_open_clip, load_scorer
from semantic_edit.offline.train_demo.sentences import match_matrix, portrait_phrases, random_sentence
from semantic_edit.offline.train_demo.vocabulary import learn_merges

allow_declaring()  # a CPU wheel of torch has no operators for torchvision
SHIPPED = Path(__file__).resolve().parents[3] / "models" / "demo" / "scorers" / "demo_portraits"


@pytest.fixture(scope="module")
def scorer():
    return load_scorer(SHIPPED)


@pytest.fixture(scope="module")
def portraits():
    factors = sample_factors(12, torch.Generator().manual_seed(5))
    return factors, render(factors, 96).images


def test_the_shipped_model_tells_glasses_and_hats(scorer, portraits):
    factors, images = portraits
    for name, texts in (("glasses", ("glasses", "no glasses")), ("hat", ("a hat", "no hat"))):
        present, absent = scorer.encode_text([f"a person with {text}" for text in texts])
        holds = scorer.encode_images(images) @ (present - absent) > 0
        assert (holds == (factors[:, INDEX[name]] > 0.5)).float().mean() >= 0.9


def test_pictures_of_any_shape_and_range_are_read(scorer):
    wide = torch.rand(2, 3, 40, 90, generator=torch.Generator().manual_seed(1)) * 3 - 1.5
    assert scorer.prepare(wide).shape == (2, 3, *scorer.image_size)
    assert torch.equal(scorer.encode_images(wide), scorer.encode_images(wide.clamp(-1, 1)))
    cut = wide[..., 25:65]
    assert torch.allclose(scorer.encode_images(cut), scorer.encode_images(wide), atol=0.2)
    assert torch.allclose(scorer.encode_images(wide).norm(dim=1), torch.ones(2))


def test_a_model_that_was_trained_on_bent_pictures_sees_all_of_them(tmp_path):
    folder = shutil.copytree(SHIPPED, tmp_path / "bends")
    config = json.loads((folder / CONFIG_NAME).read_text())
    config.setdefault("preprocess_cfg", {})["resize_mode"] = "squash"
    (folder / CONFIG_NAME).write_text(json.dumps(config))
    wide = torch.full((1, 3, 40, 90), -1.0)
    wide[..., :10] = 1  # cut away where the middle is taken
    bent, cut = (load_scorer(path).prepare(wide) for path in (folder, SHIPPED))
    assert bent.shape == cut.shape and float(bent.max()) > float(bent.min()) + 1 and float(cut.max() - cut.min()) < 1


def test_gradients_flow_into_pictures_also_below_inference_mode(scorer):
    with torch.inference_mode():
        target = scorer.encode_text(["a person with a hat"])
    picture = torch.zeros(1, 3, 64, 64, requires_grad=True)
    (scorer.encode_images(picture) @ target.t()).sum().backward()
    assert picture.grad.abs().sum() > 0 and not target.is_inference()


@pytest.mark.parametrize(
    ("text", "said"), [("", "is empty"), ("hat " * 60, "has 62 tokens"), ("zebra " * 20, "tokens")]
)
def test_sentences_that_cannot_be_read_are_refused(scorer, text, said):
    with pytest.raises(InputError, match=said):
        scorer.encode_text([text])


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("ViT-B-16-SigLIP", {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "resize_mode": "squash"}),
        ("ViT-L-14", {}),  # its weights were trained on pictures of several kinds
    ],
)
def test_a_lone_file_of_a_named_architecture_sees_pictures_as_it_was_trained(architecture, said):
    lone = SHIPPED / "open_clip_model.safetensors"
    assert describe_scorer(lone, architecture, import_open_clip()).preprocess == said


def test_a_lone_file_is_recognised_by_its_shapes_or_refused(tmp_path):
    open_clip = import_open_clip()
    wide = open_clip.get_model_config("ViT-S-32-alt") or open_clip.get_model_config("ViT-S-32")
    name = "ViT-S-32-alt" if open_clip.get_model_config("ViT-S-32-alt") else "ViT-S-32"
    with torch.device("meta"):
        shapes = open_clip.CLIP(**wide).state_dict()
    assert recognise({key: tuple(t.shape) for key, t in shapes.items()}, open_clip, "x.safetensors") == name
    lone = tmp_path / "lone.safetensors"
    shutil.copy(SHIPPED / "open_clip_model.safetensors", lone)
    with pytest.raises(CheckpointError, match="no architecture that this open_clip knows"):
        load_scorer(lone)
    with pytest.raises(CheckpointError, match="The architecture 'RN50' describes a network of"):
        load_scorer(lone, architecture="RN50")
    with pytest.raises(InputError, match="has no architecture 'RN51'"):
        load_scorer(lone, architecture="RN51")
    save_file({"a": torch.ones(1)}, str(tmp_path / "no.safetensors"))
    with pytest.raises(CheckpointError, match="both towers"):
        load_scorer(tmp_path / "no.safetensors")


def test_a_folder_without_its_parts_is_refused(tmp_path):
    for missing, said in (("words.txt.gz", "vocabulary"), ("open_clip_model.safetensors", "holds 0")):
        folder = tmp_path / missing
        shutil.copytree(SHIPPED, folder)
        (folder / missing).unlink()
        with pytest.raises(CheckpointError, match=said):
            load_scorer(folder)
    config = json.loads((SHIPPED / CONFIG_NAME).read_text())
    for text, said in (
        ("{", "does not describe"),
        ("[]", "does not describe"),
        ('{"model_cfg": {}}', "does not describe"),
    ):
        folder = tmp_path / f"bad{len(text)}{text[0] == '['}"
        shutil.copytree(SHIPPED, folder)
        (folder / CONFIG_NAME).write_text(text)
        with pytest.raises(CheckpointError, match=said):
            load_scorer(folder)
    config["model_cfg"]["text_cfg"]["hf_model_name"] = "somebody/elses"
    (folder / CONFIG_NAME).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="would download"):
        load_scorer(folder)


def test_a_damaged_folder_is_refused_before_anything_large_is_built(tmp_path):
    def broken(name, change):
        folder = shutil.copytree(SHIPPED, tmp_path / name)
        change(folder)
        return folder

    def described(folder, part, **values):
        config = json.loads((folder / CONFIG_NAME).read_text())
        config["model_cfg"][part].update(values)
        (folder / CONFIG_NAME).write_text(json.dumps(config))

    words = broken("words", lambda folder: (folder / "words.txt.gz").write_bytes(b"no words"))
    vast = broken("vast", lambda folder: described(folder, "text_cfg", layers=10**9))
    wide = broken("wide", lambda folder: described(folder, "vision_cfg", width=10**6))
    odd = broken("odd", lambda folder: described(folder, "text_cfg", tokenizer_kwargs=0.5))
    grey = broken("grey", lambda folder: (folder / CONFIG_NAME).write_text(
        (folder / CONFIG_NAME).read_text().replace('"std": [', '"std": [0, ')
    ))  # fmt: skip
    wrong = {"three numbers": grey, "words.txt.gz cannot be read": words, "for 'layers'": vast, "for 'width'": wide,
             "description of the tokenizer": odd}  # fmt: skip
    for said, folder in wrong.items():
        with pytest.raises(CheckpointError, match=said):
            load_scorer(folder)


def test_weights_under_the_other_library_s_names_are_the_same_weights():
    open_clip = import_open_clip()
    config = {
        "embed_dim": 16,
        "vision_cfg": {"layers": 2, "width": 64, "head_width": 32, "image_size": 32, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 60, "width": 32, "heads": 2, "layers": 2},
    }
    model = open_clip.CLIP(**config).eval()
    ours = model.state_dict()
    renamed = from_transformers(_theirs(ours))
    assert set(renamed) == set(ours) and all(torch.equal(renamed[name], ours[name]) for name in ours)
    with pytest.raises(CheckpointError, match="no part of a CLIP model"):
        from_transformers({"text_model.encoder.layers.0.strange.weight": torch.ones(1)})


def test_losses_fall_toward_the_sentence(scorer, portraits):
    factors, images = portraits
    goal = TextGoal(scorer, "a person with glasses", "a person", copies=2)
    before = goal.embed(images)
    worn = factors.clone()
    worn[:, INDEX["glasses"]] = 1
    bare = factors[:, INDEX["glasses"]] < 0.5
    with_glasses = render(worn, 96).images
    assert (goal.loss(with_glasses, before) < goal.loss(images, before))[bare].all()
    assert (goal.similarity(with_glasses) >= goal.similarity(images))[bare].all()
    for arguments, said in (
        (("a hat", "a hat"), "no difference"), (("a hat", "a person", "warm"), "Unknown score"),
        (("a hat", "a person", "cosine", ("no place",)), "needs {}"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            TextGoal(scorer, *arguments)


def test_moved_copies_stay_near_and_keep_their_order():
    ramp = torch.linspace(-1, 1, 32).expand(2, 3, 32, 32).clone()
    ramp[1] *= -1
    copies = augmented_copies(ramp, 3, torch.Generator().manual_seed(0))
    assert copies.shape == (6, 3, 32, 32)
    for k in range(6):
        assert (copies[k] - ramp[k % 2]).abs().mean() < 0.2 < (copies[k] - ramp[1 - k % 2]).abs().mean()


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("changes", CHANGES)
def test_every_variant_trains_and_lowers_its_loss(tiny_generator, scorer, masks, changes):
    codes = tiny_generator.map(torch.randn(4, tiny_generator.z_dim, generator=torch.Generator().manual_seed(2)))
    upper = torch.zeros(1, 1, *tiny_generator.resolution)
    upper[..., :16, :] = 1
    parts = PartLabels(torch.cat([upper, 1 - upper], dim=1), ("upper", "lower"))
    settings = TextEditSettings(masks=masks, changes=changes, steps=8, batch=2, seed=3)
    calls = []
    with torch.inference_mode():
        trained = train_text_edit(
            tiny_generator, TextGoal(scorer, "a person with a hat"), codes.clone(), parts, "a hat", settings,
            progress=lambda step, total, preview=None: calls.append(step),
        )  # fmt: skip
    assert calls[-8:] == list(range(1, 9)) and set(calls[:-8]) == {0} and trained.edit.prompt == "a hat"
    assert min(trained.losses["total"][1:]) < trained.losses["total"][0]
    assert (trained.edit.selection is not None) == ("regions" in masks) and "a hat" in training_report(trained)
    again = train_text_edit(tiny_generator, TextGoal(scorer, "a person with a hat"), codes, parts, "a hat", settings)
    assert torch.equal(again.edit.offset, trained.edit.offset)


def test_a_training_that_cannot_work_is_refused(tiny_generator, tiny_progan, scorer):
    codes = tiny_generator.map(torch.randn(3, tiny_generator.z_dim, generator=torch.Generator().manual_seed(2)))
    goal = TextGoal(scorer, "a person with a hat")
    two = PartLabels(torch.ones(2, 1, 4, 4), ("all",))
    with pytest.raises(InputError, match="need part labels"):
        train_text_edit(tiny_generator, goal, codes)
    with pytest.raises(InputError, match="part labels of 2 pictures, the latent has 3"):
        train_text_edit(tiny_generator, goal, codes, two)
    with pytest.raises(InputError, match="Progressive"):
        train_text_edit(tiny_progan, goal, torch.zeros(1, 1, tiny_progan.z_dim))
    with pytest.raises(InputError, match="Unknown masks"):
        TextEditSettings(masks="everything")
    with pytest.raises(InputError, match="No chosen row"):
        train_text_edit(
            tiny_generator, goal, codes, settings=TextEditSettings(masks="none", rows=(7,), stop_resolution=8)
        )


def test_sentences_know_what_makes_them_true():
    rng = torch.Generator().manual_seed(0)
    attributes = portrait_phrases(sample_factors(40, rng))
    sentences = [random_sentence(portrait, rng) for portrait in attributes]
    matches = match_matrix(attributes, sentences)
    assert bool(matches.diagonal().all()) and 0.02 < float(matches.float().mean()) < 0.6
    bare = [entry for entry in sentences if not entry.conditions]
    assert all(match_matrix(attributes, [entry]).all() for entry in bare)


def test_every_word_of_the_vocabulary_is_one_token(scorer):
    for text in (
        "a portrait of a person with glasses and a red hat",
        caption(sample_factors(1)[0], torch.Generator(), 8),
    ):
        assert scorer.count_tokens(text) == len(text.replace(",", " ,").split()) + 2
    assert learn_merges(["ab", "abc"])[0] in {("a", "b"), ("a", "b</w>")}


def test_the_shipped_weights_are_half_precision_and_small():
    weights = load_file(SHIPPED / "open_clip_model.safetensors")
    assert all(t.dtype == torch.float16 for t in weights.values() if t.is_floating_point())


def _theirs(ours: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """open_clip's weights under the other library's names, written down independently of the reader."""
    renamed = {
        "logit_scale": ours["logit_scale"],
        "text_projection.weight": ours["text_projection"].t(),
        "visual_projection.weight": ours["visual.proj"].t(),
        "text_model.embeddings.token_embedding.weight": ours["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": ours["positional_embedding"],
        "text_model.embeddings.position_ids": torch.arange(8)[None],
        "vision_model.embeddings.class_embedding": ours["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": ours["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": ours["visual.positional_embedding"],
    }
    norms = {"text_model.final_layer_norm": "ln_final", "vision_model.pre_layrnorm": "visual.ln_pre",
             "vision_model.post_layernorm": "visual.ln_post"}  # fmt: skip
    for tower, prefix in (("text_model", "transformer"), ("vision_model", "visual.transformer")):
        for k in range(2):
            source, target = f"{tower}.encoder.layers.{k}", f"{prefix}.resblocks.{k}"
            norms |= {f"{source}.layer_norm1": f"{target}.ln_1", f"{source}.layer_norm2": f"{target}.ln_2",
                      f"{source}.self_attn.out_proj": f"{target}.attn.out_proj",
                      f"{source}.mlp.fc1": f"{target}.mlp.c_fc",
                      f"{source}.mlp.fc2": f"{target}.mlp.c_proj"}  # fmt: skip
            for kind in ("weight", "bias"):
                q, key, value = ours[f"{target}.attn.in_proj_{kind}"].chunk(3)
                renamed |= {f"{source}.self_attn.{n}_proj.{kind}": t for n, t in (("q", q), ("k", key), ("v", value))}
    for theirs, name in norms.items():
        renamed |= {f"{theirs}.{kind}": ours[f"{name}.{kind}"] for kind in ("weight", "bias")}
    return renamed


def _vit_b_32_of_transformers(folder, **towers):
    """The shapes of ViT-B-32 under the transformers library's names, in a file with holes, and its config.json."""
    shapes = {
        "vision_model.embeddings.patch_embedding.weight": (768, 3, 32, 32),
        "vision_model.embeddings.position_embedding.weight": (50, 768),
        "text_model.embeddings.token_embedding.weight": (49408, 512),
        "text_model.embeddings.position_embedding.weight": (77, 512),
        "text_projection.weight": (512, 512),
    }
    for tower in ("vision_model", "text_model"):
        shapes |= {f"{tower}.encoder.layers.{k}.layer_norm1.weight": (1,) for k in range(12)}
    header, end = {}, 0
    for name, shape in shapes.items():
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [end, end + math.prod(shape)]}
        end += math.prod(shape)
    text = json.dumps(header).encode()
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", **towers}))
    return folder


@pytest.mark.parametrize(
    ("towers", "architecture"),
    [
        ({"text_config": {"hidden_act": "gelu"}, "vision_config": {"hidden_act": "gelu"}}, "ViT-B-32"),
        ({"text_config": {"hidden_act": "quick_gelu"}, "vision_config": {}}, "ViT-B-32-quickgelu"),
        ({}, "ViT-B-32-quickgelu"),  # the library leaves out what is as by default
    ],
    ids=["gelu", "quick_gelu", "default"],
)
def test_the_activation_is_read_from_the_config_beside_the_weights(tmp_path, caplog, towers, architecture):
    open_clip = import_open_clip()
    folder = _vit_b_32_of_transformers(tmp_path / "clip", **towers)
    assert describe_scorer(folder, "auto", open_clip).name == architecture and not caplog.records
    assert describe_scorer(folder / "model.safetensors", "auto", open_clip).name == architecture
    (folder / "config.json").unlink()
    assert describe_scorer(folder, "auto", open_clip).name == "ViT-B-32-quickgelu" and "could also be" in caplog.text


@pytest.mark.parametrize(
    ("towers", "said"),
    [
        ({"text_config": {"hidden_act": "gelu"}, "vision_config": {}}, "names the activation gelu, quick_gelu"),
        ({"text_config": {"hidden_act": "re\nlu"}, "vision_config": {"hidden_act": "re\nlu"}}, r"activation re\\nlu"),
        ({"text_config": 3, "vision_config": {}}, "names the activation"),
    ],
)
def test_an_activation_that_clip_does_not_have_is_refused(tmp_path, towers, said):
    folder = _vit_b_32_of_transformers(tmp_path / "clip", **towers)
    with pytest.raises(CheckpointError, match=said):
        describe_scorer(folder, "auto", import_open_clip())
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="config.json in clip cannot be read"):
        describe_scorer(folder, "auto", import_open_clip())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_of_the_training_are_stripped(tmp_path, scorer, prefix):
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "wrapped"))
    file = folder / "open_clip_model.safetensors"
    weights = load_file(file)
    save_file({f"{prefix}{name}": tensor for name, tensor in weights.items()}, file)
    read = load_scorer(folder).model.state_dict()
    assert all(torch.equal(read[name], tensor) for name, tensor in scorer.model.state_dict().items())
    save_file(weights | {f"{prefix}logit_scale": weights["logit_scale"].clone()}, file)
    with pytest.raises(CheckpointError, match="open_clip_model.safetensors holds two tensors for 'logit_scale'"):
        load_scorer(folder)
