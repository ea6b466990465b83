"""Generators that few people have: one that draws in grey or with transparency, one that is adapted to several photos,
and values of other generators beside them."""

import pytest
import torch
from PIL import Image
from semantic_edit.editing.common.sample import sample
from semantic_edit.editing.common.types import EditDirection, GanLatent
from semantic_edit.models import InputError, StyleGAN2, StyleGAN2Config
from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint


@pytest.fixture(params=[1, 4], ids=["grey", "with transparency"])
def odd(request):
    config = StyleGAN2Config(16, 16, (16, 16, 12, 8), mapping_layers=2, lr_multiplier=1.0, img_channels=request.param)
    network = StyleGAN2(config, torch.Generator().manual_seed(7)).requires_grad_(False).eval()
    return GanGenerator(network, family_fingerprint(network), "odd")


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def first(values):
    return values[0][0]


def test_a_generator_of_other_channels_goes_through_one_edit_for_all(odd, run_node, headless_host):
    inputs = dict(generator=odd)
    codes = sample(odd, 2, 0)
    pictures = first(run_node("GenerateImages", latents=codes, **inputs))
    (inverted, redrawn, psnr, *_), _ = run_node("InvertImages", images=pictures, steps=20, starts=3, **inputs)
    assert redrawn.shape == (2, 32, 32, 3) and min(psnr) > 12
    edit = first(run_node("RecordEdit", start=_one(codes, 0), edited=_one(codes, 1), **inputs))
    learned = first(run_node("OptimizeDirection", edit=edit, samples=64, features="demo portraits", **inputs))
    run_node("ComputeStrength", direction=learned, latents=inverted, corrections=1, **inputs)
    assert first(run_node("DiscoverDirections", preview_count=1, **inputs)) is not None
    frames = first(run_node("AnimateStrength", latents=inverted, direction=edit, frame_count=2, **inputs))
    assert frames.shape[-1] == 3
    run_node("SaveDirection", direction=edit, latents=inverted, **inputs)
    folder = headless_host.input_directory() / "set"
    folder.mkdir()
    Image.new("RGB", (40, 32), (200, 30, 30)).save(folder / "red.png")
    run_node("EditFolder", direction=edit, folder="set", name="odd", encoder="none", steps=2, **inputs)
    result = headless_host.output_directory() / "semantic_edit" / "batches" / "odd" / "red.png"
    assert Image.open(result).mode == "RGB"


@pytest.mark.parametrize("method", ["residual", "free + residual"])
def test_a_generator_of_other_channels_is_painted_with(odd, run_node, method):
    inputs = dict(generator=odd)
    codes = sample(odd, 2, 0)
    photos = first(run_node("GenerateImages", latents=codes, **inputs))[..., :3] * 0.5 + 0.2
    mask = torch.zeros(1, 32, 32)
    mask[:, 4:16, 4:16] = 1
    (adapted, drawn, psnr, _), _ = run_node(
        "AdaptGenerator", latents=codes, photos=photos, method=method, steps=2, **inputs
    )
    assert min(psnr) > 40 and torch.allclose(drawn, photos, atol=0.02)
    for form in ("statistics", "channel means"):
        painting = first(
            run_node(
                "CopyAppearance", latents=codes, mask=mask, reference=codes, reference_mask=mask, form=form, **inputs
            )
        )
        for blending, tones in (("linear", True), ("poisson", False), ("change only", False)):
            (painted, raw, _), _ = run_node(
                "RenderPaintedPhoto",
                generator=adapted,
                latents=codes,
                painting=painting,
                photos=photos,
                blending=blending,
                match_tones=tones,
            )
            assert painted.shape == raw.shape == photos.shape and bool(torch.isfinite(painted).all())


def test_a_generator_of_other_channels_is_dissected(odd, run_node):
    (_, sheets, _), _ = run_node("DissectConcepts", generator=odd, samples=64, ranking="effect")
    assert sheets.shape[-1] == 3


def test_a_stylegan3_goes_through_the_nodes(tiny_stylegan3, run_node, headless_host):
    inputs = dict(generator=tiny_stylegan3)
    codes = sample(tiny_stylegan3, 2, 0)
    pictures = first(run_node("GenerateImages", latents=codes, **inputs))
    (inverted, redrawn, *_), _ = run_node("InvertImages", images=pictures, steps=5, **inputs)
    assert redrawn.shape == (2, 32, 32, 3)
    edit = first(run_node("RecordEdit", start=_one(codes, 0), edited=_one(codes, 1), **inputs))
    learned = first(run_node("OptimizeDirection", edit=edit, samples=64, features="demo portraits", **inputs))
    strengths = first(run_node("ComputeStrength", direction=learned, latents=inverted, **inputs))
    assert first(run_node("ApplyEdit", latents=inverted, direction=learned, strength=strengths)) is not None
    assert first(run_node("DiscoverDirections", preview_count=1, **inputs)) is not None
    assert first(run_node("SlideAttribute", latents=codes, direction=edit, amount=0.5, **inputs)) is not None
    (_, dragged, *_), _ = run_node(
        "DragPoints", latents=_one(codes, 0), points="10,10 -> 14,14", rows="all", steps=2, **inputs
    )
    assert not torch.equal(dragged.codes, codes.codes[:1])
    adapted = first(run_node("AdaptGenerator", latents=codes, photos=pictures * 0.8, method="free", steps=2, **inputs))
    file = first(run_node("SaveAdaptation", generator=adapted, name="a"))
    loaded = first(run_node("LoadAdaptation", file=headless_host.list_models("adaptations")[0], **inputs))
    again = [first(run_node("GenerateImages", generator=g, latents=codes)) for g in (adapted, loaded)]
    assert file and torch.allclose(*again, atol=1e-3)
    assert first(run_node("PartsFromFeatures", latents=codes, count=2, height=16, **inputs)) is not None


def test_what_a_stylegan3_cannot_do_is_one_sentence(tiny_stylegan3, run_node):
    inputs = dict(generator=tiny_stylegan3)
    codes, mask = sample(tiny_stylegan3, 2, 0), torch.ones(1, 32, 32)
    with pytest.raises(InputError, match="StyleGAN3, whose features are turned and shifted"):
        run_node("DissectConcepts", samples=64, **inputs)
    with pytest.raises(InputError, match="StyleGAN3, whose features are turned and shifted"):
        run_node("CopyAppearance", latents=codes, mask=mask, reference=codes, reference_mask=mask, **inputs)
    direction = EditDirection(randn(7, 16), randn(7, 16), family=tiny_stylegan3.family)
    parts = first(run_node("PartsFromFeatures", latents=codes, count=2, height=16, **inputs))
    with pytest.raises(InputError, match="StyleGAN3, which draws one code"):
        run_node("LocalizeDirection", latents=codes, direction=direction, parts=parts, steps=1, **inputs)


def _one(latents, k):
    return GanLatent(latents.codes[k : k + 1], family=latents.family)


def test_both_pictures_of_a_pair_are_of_the_same_photo(tiny_generator, run_node):
    photos = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(1))
    inputs = dict(generator=tiny_generator, images=photos, steps=30, early_layers=4)
    (latents, redrawn, *_, fitted), _ = run_node("InvertImages", **inputs)
    everywhere = EditDirection(randn(8, 16), randn(8, 16), family=fitted.family)
    inputs = dict(generator=fitted, latents=latents, direction=everywhere, amount=0.1)
    for index in range(2):
        (_, edited, pair), _ = run_node("SlideAttribute", index=index, **inputs)
        alone = first(run_node("GenerateImages", generator=fitted, latents=edited))
        assert torch.equal(pair[1], alone[0])
        torch.testing.assert_close(pair[0], redrawn[index], atol=1e-5, rtol=0)
    inputs = dict(generator=fitted, latents=_one(latents, 0), points="10,10 -> 14,14", rows="all", steps=2)
    (_, edited, pair, *_), _ = run_node("DragPoints", **inputs)
    assert torch.equal(pair[1], first(run_node("GenerateImages", generator=fitted, latents=edited))[0])


def test_early_layers_of_an_adapted_generator_are_refused_before_the_work(tiny_generator, run_node, monkeypatch):
    photos = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(1))
    (*_, fitted), _ = run_node("InvertImages", generator=tiny_generator, images=photos, steps=1, early_layers=2)
    monkeypatch.setattr("semantic_edit.editing.photos.inversion._descend", None)
    with pytest.raises(InputError, match="is adapted to photos already"):
        run_node("InvertImages", generator=fitted, images=photos, steps=1, early_layers=2)


@pytest.mark.parametrize(
    "node, more", [("SlideAttribute", {}), ("SlideAttribute", {"rows": "0-3"}), ("SaveDirection", {})]
)
def test_a_direction_of_another_generator_is_named(tiny_generator, run_node, node, more):
    latents = sample(tiny_generator, 2, 0)
    other = EditDirection(randn(8, 16), randn(8, 16), family="another", name="smile")
    longer = EditDirection(randn(10, 16), randn(10, 16), name="smile")
    for direction, said in (
        (other, "'smile' belongs to the generator family 'another'"),
        (longer, "'smile' has shape"),
    ):
        with pytest.raises(InputError, match=f"The direction {said}"):
            run_node(node, generator=tiny_generator, latents=latents, direction=direction, **more)


def test_an_inverted_edit_has_no_normal_of_its_own(tiny_generator, run_node):
    codes = sample(tiny_generator, 2, 0)
    edit = first(run_node("RecordEdit", generator=tiny_generator, start=_one(codes, 0), edited=_one(codes, 1)))
    opposite = first(run_node("ScaleEdit", edit=edit, invert=True))
    inputs = dict(generator=tiny_generator, edit=opposite, samples=64)
    learned = first(run_node("OptimizeDirection", **inputs))
    assert "as recorded" not in learned.method
    with pytest.raises(InputError, match="without a normal of its own"):
        run_node("OptimizeDirection", normal="as recorded", **inputs)


def test_the_last_seed_is_a_seed(tiny_generator, run_node):
    codes = sample(tiny_generator, 2, 0)
    edit = first(run_node("RecordEdit", generator=tiny_generator, start=_one(codes, 0), edited=_one(codes, 1)))
    first_seed, last_seed = (
        first(run_node("OptimizeDirection", generator=tiny_generator, edit=edit, samples=64, seed=seed))
        for seed in (0, 2**64 - 1)
    )
    assert bool(torch.isfinite(last_seed.normal).all()) and not torch.equal(first_seed.normal, last_seed.normal)
