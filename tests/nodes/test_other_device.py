"""Every stage on a device that is not the CPU: emulated, with the rules that Apple's devices share with most."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
import torch
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.headless.run.catalog import core_nodes

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "demo"
_spec = importlib.util.spec_from_file_location("emulated_device", Path(__file__).parents[1] / "emulated_device.py")
emulated = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = emulated
_spec.loader.exec_module(emulated)


@pytest.fixture
def elsewhere(headless_host, monkeypatch):
    """The headless host on the emulated device; pictures that leave a node come back to the CPU, as in ComfyUI."""
    monkeypatch.setattr(headless_host, "_device", emulated.THERE)
    with emulated.EmulatedDevice() as device:
        yield device


@pytest.fixture
def run(run_node, elsewhere):
    """run_node's values alone, on the emulated device."""
    yield lambda node, **inputs: run_node(node, **inputs)[0]
    assert elsewhere.moves, "nothing went to the device"


@pytest.fixture
def generator(tiny_network):
    import copy

    from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint

    return GanGenerator(copy.deepcopy(tiny_network), family_fingerprint(tiny_network), "tiny")  # its weights will move


@pytest.fixture
def latents(run, generator):
    return run("SampleLatents", generator=generator, count=64, seed=3)[0]


def some(latents, count):
    return GanLatent(latents.codes[:count], latents.names[:count], latents.family)


@pytest.fixture
def parts(run, generator, latents):
    pictures = run("GenerateImages", generator=generator, latents=latents)[0]
    bright = (pictures.mean(dim=3)[:, None] > 0.5).float()
    return PartLabels(torch.cat([bright, 1 - bright], dim=1), ("bright", "dark"))


def test_the_rules_are_kept_there(elsewhere):
    on_cpu = torch.ones(3)
    on_mps = on_cpu.to("mps")
    assert (on_cpu.device.type, on_mps.device.type, (on_mps * 2).device.type) == ("cpu", "mps", "mps")
    for wrong, said in (
        (lambda: on_cpu + on_mps, "same device"),
        (on_mps.double, "float64"),
        (lambda: torch.zeros(2, device="mps", dtype=torch.float64), "float64"),
        (lambda: torch.randn(2, device="mps", generator=torch.Generator()), "generator"),
        (on_mps.numpy, "numpy"),
    ):
        with pytest.raises((RuntimeError, TypeError), match=said):
            wrong()


def test_one_edit_for_all(run, generator, latents):
    batch = some(latents, 4)
    discovered = run("DiscoverDirections", generator=generator, component=1, preview_count=2, latents=batch)[0]
    start, edited, _ = run("SlideAttribute", generator=generator, latents=batch, direction=discovered, amount=1.5)
    edit = run("RecordEdit", generator=generator, start=start, edited=edited, attribute=discovered)[0]
    plain = run("RecordEdit", generator=generator, start=start, edited=edited)[0]
    for variant, normal in (("example", "automatic"), ("single", "direction"), ("batch", "automatic")):
        inputs = dict(generator=generator, edit=plain, variant=variant, normal=normal, steps=2, samples=300)
        learned = run("OptimizeDirection", **inputs)[0]
    for mode, corrections in (("same state", 2), ("constant", 0)):
        inputs = dict(direction=learned, latents=batch, generator=generator, mode=mode, corrections=corrections)
        strengths = run("ComputeStrength", **inputs)[0]
        assert emulated.is_there(strengths.alpha) and bool(torch.isfinite(strengths.alpha).all())
    run("ComputeStrength", direction=edit, latents=batch, reference=some(latents, 1))
    moved = run("ApplyEdit", latents=batch, direction=learned, strength=strengths)[0]
    assert emulated.is_there(moved.codes) and not torch.equal(moved.codes, batch.codes)
    run("ConsistencyReport", direction=edit, before=batch, after=moved)
    run("ConsistencyReport", direction=edit, before=GanLatent(batch.codes.cpu()), after=moved)  # as loaded from a file
    other = run("DiscoverDirections", generator=generator, component=2, preview_count=0)[0]
    run("CombineEdits", latents=batch, edit_1=edit, edit_2=other)
    inputs = dict(latents=batch, direction=edit, strengths=strengths, frame_count=2)
    frames, count = run("AnimateStrength", generator=generator, **inputs)
    assert len(frames) == count >= 2 and not emulated.is_there(frames), "other nodes want pictures on the CPU"
    run("SaveDirection", direction=edit, name="kept", generator=generator, latents=start)
    scores = " ".join(str(k % 7) for k in range(len(latents)))
    run("FitDirection", latents=latents, scores=scores)
    blended = run("BlendLatents", a=batch, b=moved, amount=0.5, mode="spherical", generator=generator)[0]
    assert blended.codes.shape == batch.codes.shape and bool(torch.isfinite(blended.codes).all())


def test_a_drag(run, generator, latents):
    for method in ("least change", "published"):
        inputs = dict(generator=generator, latents=some(latents, 1), points="12,16 -> 16,16", method=method)
        start, edited, images, *_ = run("DragPoints", **inputs, steps=2, learning_rate=0.01, strokes="0.3: 0.5 0.5")
        assert emulated.is_there(edited.codes) and not torch.equal(edited.codes, start.codes)
        assert images.shape == (2, 32, 32, 3) and not emulated.is_there(images)


def test_photos(run, generator, latents):
    codes = some(latents, 2)
    pictures = run("GenerateImages", generator=generator, latents=codes)[0].flip(2)
    for space in ("w", "w+"):
        inputs = dict(generator=generator, images=pictures, space=space, steps=3, mask=torch.ones(1, 32, 32))
        inverted, _, psnr, *_ = run("InvertImages", **inputs)
        assert emulated.is_there(inverted.codes) and len(inverted) == 2
    for method in ("residual", "weights"):
        inputs = dict(generator=generator, photos=pictures, latents=inverted, method=method, steps=2)
        adapted, images, adapted_psnr, _ = run("AdaptGenerator", **inputs)
        if method == "residual":  # exact at once; two steps of the weights gain nothing yet
            assert all(new > old for new, old in zip(adapted_psnr, psnr, strict=True))
    drawn = run("GenerateImages", generator=adapted, latents=inverted)[0]
    torch.testing.assert_close(drawn, images, rtol=0, atol=1e-5)


def test_painting(run, generator, latents, parts):
    for ranking in ("difference", "overlap"):
        inputs = dict(generator=generator, latents=latents, parts=parts, ranking=ranking)
        concepts = run("DissectConcepts", **inputs)[0]
    photo = some(latents, 1)
    pictures = run("GenerateImages", generator=generator, latents=photo)[0]
    painting = None
    for form in ("donor", "units", "units, published"):
        inputs = dict(generator=generator, concepts=concepts, concept="bright", form=form, strokes="0.3: 0.5 0.5")
        painting = run("PaintConcept", **inputs, **({} if painting is None else {"painting": painting}))[0]
    mask = torch.ones(1, 32, 32)
    inputs = dict(mask=mask, reference=some(latents, 1), reference_mask=mask)
    painting = run("CopyAppearance", generator=generator, latents=photo, painting=painting, **inputs)[0]
    for blending in ("linear", "change only", "laplacian", "poisson"):
        inputs = dict(generator=generator, latents=photo, painting=painting, photos=pictures, blending=blending)
        composite, _, joined = run("RenderPaintedPhoto", **inputs, match_tones=True)
        assert composite.shape == pictures.shape and not torch.equal(composite, pictures), blending
        assert not emulated.is_there(joined) and float(joined.max()) > 0.5


def test_text_edits(run, generator, latents, headless_host):
    shutil.copytree(SHIPPED / "scorers" / "demo_portraits", headless_host.model_folders("scorers")[0] / "portraits")
    scorer = run("LoadTextImageScorer", file="portraits/open_clip_model.safetensors")[0]
    batch = some(latents, 4)
    parts = run("PartsFromFeatures", generator=generator, latents=batch, count=3)[0]
    discovered = run("DiscoverDirections", generator=generator, component=1, preview_count=0)[0]
    local = run("LocalizeDirection", generator=generator, direction=discovered, latents=batch, parts=parts, steps=2)[0]
    file = run("SaveLatents", latents=batch, name="kept")[0]
    loaded = run("LoadLatents", file=file)[0]  # from a file: on the CPU, as are the networks of a loaded edit
    for masks, changes, person in (("regions", "direction", 0), ("attention in regions", "mapper", 1)):
        inputs = dict(generator=generator, scorer=scorer, latents=batch, prompt="a person with a hat", masks=masks)
        inputs |= dict(changes=changes, parts=parts, person=("not checked", "demo portraits")[person])
        edit = run("TrainTextEdit", **inputs, steps=2, samples=12)[0]
        file = run("SaveTextEdit", text_edit=edit, name="kept")[0]
        for text_edit, codes in ((edit, batch), (run("LoadTextEdit", generator=generator, file=file)[0], loaded)):
            inputs = dict(generator=generator, latents=codes, text_edit=text_edit, parts=parts)
            mask = run("ApplyTextEdit", **inputs)[1]
            full_mask = run("RegionLayerMasks", **inputs)[2]
    part_mask = run("PartMask", parts=parts, names="part 1")[0]
    assert not any(emulated.is_there(tensor) for tensor in (mask, full_mask, part_mask)), (
        "other nodes want masks on the CPU"
    )
    run("PartsFromMasks", mask_1=part_mask.to("mps"), mask_2=part_mask, names="one, two")
    shut = local.refined(threshold=0.99)  # not one row shows anything
    run("ApplyTextEdit", generator=generator, latents=batch, text_edit=shut, parts=parts)
    edit = run("RefineMasks", text_edit=local, only_here=torch.ones(1, 32, 32))[0]
    run("RegionLayerMasks", generator=generator, latents=batch, text_edit=edit, parts=parts)
    example = run("RecordEdit", generator=generator, start=some(latents, 1), text_edit=edit)[0]
    run("OptimizeDirection", generator=generator, edit=example, scorer=scorer, samples=300, variant="example")


def test_the_shipped_encoder(run, headless_host):
    generator = run("LoadGenerator", file="demo_portraits.safetensors")[0]
    latents = run("SampleLatents", generator=generator, count=2, seed=1)[0]
    pictures = run("GenerateImages", generator=generator, latents=latents)[0]
    encoded = run("EncodeImages", generator=generator, images=pictures, file="demo_portraits.safetensors")[0]
    assert emulated.is_there(encoded.codes) and encoded.codes.shape == latents.codes.shape
    run("DemoParts", images=pictures)
    run("MeasurePortraits", images=pictures)
    smile = run("LoadDirection", generator=generator, file="smile.safetensors")[0]
    inputs = dict(generator=generator, direction=smile, folder="(demo photos)", most=2, mode="constant")
    _, report, results = run("EditFolder", **inputs, encoder="demo_portraits.safetensors", steps=1)
    assert len(list(Path(results).glob("*.png"))) == 2, report


def test_imagic(run, headless_host):
    pytest.importorskip("diffusers")
    model, clip, vae = run("LoadDemoDiffusion")
    photo = run("LoadDemoPhotos", photo="ada", size=128)[0]
    encode, clip_text = core_nodes()["VAEEncode"], core_nodes()["CLIPTextEncode"]
    with torch.inference_mode():
        target = clip_text.execute(clip=clip, text="a person with glasses").result[0]
        latent = encode.execute(pixels=photo, vae=vae).result[0]
    inputs = dict(model=model, latent=latent)
    optimised = run("OptimizeEmbedding", **inputs, target=target, steps=1, draws=1)[0]
    lora = run("TuneModel", **inputs, conditioning=optimised, steps=1, draws=1)[1]
    between = run("InterpolateEmbedding", optimised=optimised, target=target, eta=0.7)[0][0]
    assert between[0][0].shape == target[0][0].shape and not torch.equal(between[0][0].cpu(), target[0][0].cpu())
    assert lora and all(bool(torch.isfinite(tensor).all()) for tensor in lora.values())
    assert run("ApplyTuning", model=model, lora=lora, strength=1.0)[0] is not model


@pytest.mark.parametrize("tracked", [True, False])
def test_statistics_follow_a_generator_that_moves(run, generator, tracked):
    if not tracked:
        generator.network.mapping.w_avg.zero_()  # as converted from a file without that average
    codes = GanLatent(torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(1)), family=generator.family)
    before = generator.w_covariance.clone()  # while the weights lie on the CPU, as after loading
    run("BlendLatents", a=codes, b=codes, mode="spherical", generator=generator)
    latents = run("SampleLatents", generator=generator, count=2)[0]
    run("DragPoints", generator=generator, latents=some(latents, 1), points="12,16 -> 16,16", steps=2)
    pictures = run("GenerateImages", generator=generator, latents=latents)[0]
    run("InvertImages", generator=generator, images=pictures, steps=2)
    assert generator.w_covariance.device == generator.device == emulated.THERE
    assert torch.equal(generator.w_covariance.cpu(), before)


@pytest.mark.parametrize("shared", [False, True])
def test_what_reads_pictures_for_a_score_is_called_back(run, generator, latents, headless_host, shared):
    from semantic_edit.models.encoders.encoder import Encoder, EncoderConfig, save_encoder
    from semantic_edit.models.encoders.irse import IrseConfig, IrseEncoder

    config = IrseConfig(8, size=(32, 32), widths=(4, 4, 8, 8, 8), units=(1, 1, 1, 1), w_dim=16, coarse=2, middle=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        encoder = IrseEncoder(config, generator.family) if shared else Encoder(EncoderConfig(32, 4, 8, 16, 16), "")
    encoder.family = generator.family
    save_encoder(headless_host.model_folders("encoders")[0] / "eyes.safetensors", encoder)
    start, other = some(latents, 1), GanLatent(latents.codes[1:2], family=latents.family)
    edit = run("RecordEdit", generator=generator, start=start, edited=other)[0]
    inputs = dict(generator=generator, edit=edit, features="eyes.safetensors", samples=300, normal="features")
    learned = run("OptimizeDirection", **inputs)[0]
    eyes = learned.score.space.key.to("cpu")  # as a host does that needs the room
    strengths = run("ComputeStrength", generator=generator, direction=learned, latents=some(latents, 2), corrections=1)
    assert strengths[0].confidence is not None and eyes.w_mean.device == emulated.THERE
