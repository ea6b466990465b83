"""Adapt, save and load as ComfyUI runs them: under inference mode, with files in folders."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.models import InputError
from semantic_edit.models.gan.adaptation import Adaptation


@pytest.fixture
def latents(tiny_generator):
    codes = tiny_generator.map(torch.randn(2, 16, generator=torch.Generator().manual_seed(1)))
    return GanLatent(codes, ("ann", "bob"), tiny_generator.family)


@pytest.fixture
def photos(tiny_generator, latents):
    """As IMAGE, with a square that the generator cannot know."""
    with torch.no_grad():
        pictures = (tiny_generator.synthesize(latents.codes).movedim(1, -1) * 0.3 + 0.5).clamp(0, 1)
    pictures[:, 4:12, 18:28] = torch.tensor([0.9, 0.1, 0.4])
    return pictures


@pytest.fixture
def adapted(run_node, tiny_generator, photos, latents):
    return run_node("AdaptGenerator", generator=tiny_generator, photos=photos, latents=latents)[0]


def test_it_draws_the_photos_wherever_a_generator_goes(run_node, tiny_generator, adapted, photos, latents):
    generator, images, psnr, report = adapted
    assert min(psnr) > 45 and float((images - photos).abs().max()) < 0.02
    assert report.splitlines()[1].startswith("ann: ") and generator.family == tiny_generator.family
    (drawn,), _ = run_node("GenerateImages", generator=generator, latents=latents)
    assert torch.allclose(drawn, images, atol=1e-4)
    (sampled,), _ = run_node("SampleLatents", generator=generator, count=3, seed=1)
    (others,), _ = run_node("GenerateImages", generator=generator, latents=sampled)
    assert others.shape[0] == 3 and bool(torch.isfinite(others).all())
    (plain,), _ = run_node("GenerateImages", generator=tiny_generator, latents=latents)
    assert float((plain - photos).abs().max()) > 0.2  # the generator given is as it was


@pytest.mark.parametrize("method", ["free", "network + residual", "weights"])
def test_other_methods_run_under_inference_mode_and_go_on(run_node, tiny_generator, photos, latents, method):
    first = run_node(
        "AdaptGenerator", generator=tiny_generator, photos=photos, latents=latents, method=method, steps=3
    )[0]
    again = run_node("AdaptGenerator", generator=first[0], photos=photos, latents=latents, method=method, steps=3)[0]
    assert again[0].adaptation.method == method and len(again[2]) == 2


def test_a_mask_of_another_size_is_resized_and_counts(run_node, tiny_generator, photos, latents):
    mask = torch.zeros(64, 64)
    mask[32:, :32] = 1
    values, _ = run_node("AdaptGenerator", generator=tiny_generator, photos=photos, latents=latents, mask=mask)
    assert "outside the mask" in values[3]
    assert float(values[0].adaptation.residual[..., 18:, :14].abs().max()) == 0


def test_a_painting_is_adapted_below(run_node, tiny_generator, photos, latents):
    from semantic_edit.editing.paint.painting import Painting, UnitStroke

    mask = torch.zeros(1, 32, 32)
    mask[:, 18:28, 6:18] = 1
    stroke = UnitStroke(mask, 2, (0, 1, 2, 3), torch.full((4,), 3.0), "thing")
    painting = Painting((stroke,), tiny_generator.family)
    values, _ = run_node("AdaptGenerator", generator=tiny_generator, photos=photos, latents=latents, painting=painting)
    generator, images, psnr, _ = values
    assert min(psnr) > 35
    (_, raw, _), _ = run_node(
        "RenderPaintedPhoto", generator=generator, latents=latents, painting=painting, photos=photos
    )
    assert torch.allclose(raw, images, atol=1e-3)


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("form", ["fine rows", "statistics"])
def test_methods_with_gradients_adapt_below_strokes_of_other_nodes(
    run_node, tiny_generator, photos, latents, form, size
):
    """Masks and features were made under inference mode, and some are of a layer's very size."""
    with torch.inference_mode():
        mask = torch.zeros(1, size, size)
        mask[:, 4:12, 18:28] = 1
    reference = GanLatent(latents.codes[:1], ("ann",), tiny_generator.family)
    (painting,), _ = run_node(
        "CopyAppearance",
        generator=tiny_generator,
        latents=latents,
        mask=mask,
        reference=reference,
        reference_mask=mask,
        form=form,
    )
    values, _ = run_node(
        "AdaptGenerator",
        generator=tiny_generator,
        photos=photos,
        latents=latents,
        painting=painting,
        method="free",
        steps=2,
    )
    assert all(value > 5 for value in values[2])


def test_save_and_load(run_node, headless_host, tiny_generator, adapted, latents):
    generator, images, _, _ = adapted
    (file,), _ = run_node("SaveAdaptation", generator=generator, name="people/two")
    assert file == "people/two_00001_.safetensors"
    (loaded, codes), _ = run_node("LoadAdaptation", generator=tiny_generator, file=file)
    assert codes.names == ("ann", "bob") and torch.equal(codes.codes, latents.codes)
    (drawn,), _ = run_node("GenerateImages", generator=loaded, latents=codes)
    assert torch.allclose(drawn, images, atol=1e-4)


def test_a_plain_generator_has_nothing_to_save(run_node, tiny_generator):
    with pytest.raises(InputError, match="not adapted to any photo"):
        run_node("SaveAdaptation", generator=tiny_generator, name="x")


def test_loading_onto_another_generator_is_refused(run_node, headless_host, tiny_generator, tiny_progan):
    from semantic_edit.models.files.adaptation import write_adaptation

    folder = headless_host.settings.models / "semantic_edit" / "adaptations"
    other = Adaptation(torch.zeros(1, 8, 16), residual=torch.zeros(1, 3, 32, 32), family="stylegan2-64x64-abc")
    write_adaptation(folder / "other.safetensors", other)
    with pytest.raises(InputError, match="stylegan2-64x64-abc"):
        run_node("LoadAdaptation", generator=tiny_generator, file="other.safetensors")
    with pytest.raises(InputError, match="shape"):
        run_node("LoadAdaptation", generator=tiny_progan, file="other.safetensors")
    (folder / "other.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        run_node("LoadAdaptation", generator=tiny_generator, file="other.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"photos": torch.rand(2, 32, 48, 3), "fit": "squeeze"}, "fit 'squeeze'"),
        ({"photos": torch.rand(3, 32, 32, 3)}, "3 photos and 2 codes"),
        ({"mask": torch.zeros(3, 32, 32)}, "mask has shape"),
        ({"mask": torch.zeros(1, 32, 64)}, "mask is 64 x 32"),
        ({"mask": torch.ones(1, 32, 32)}, "covers a whole photo"),
        ({"method": "guess"}, "Unknown method 'guess'"),
        ({"latents": GanLatent(torch.zeros(2, 8, 16), family="stylegan2-9x9-0")}, "stylegan2-9x9-0"),
        ({"latents": GanLatent(torch.zeros(2, 4, 16))}, "latent has shape"),
    ],
)
def test_wrong_inputs_are_sentences(run_node, tiny_generator, photos, latents, change, words):
    with pytest.raises(InputError, match=words):
        run_node("AdaptGenerator", **{"generator": tiny_generator, "photos": photos, "latents": latents, **change})


def test_stopping_leaves_the_generator_as_it_was(run_node, headless_host, tiny_generator, photos, latents):
    from semantic_edit.headless import StoppedError

    before = {name: tensor.clone() for name, tensor in tiny_generator.network.state_dict().items()}
    headless_host.interrupt()
    with pytest.raises(StoppedError):
        run_node("AdaptGenerator", generator=tiny_generator, photos=photos, latents=latents, method="weights", steps=5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_generator.network.state_dict().items())
