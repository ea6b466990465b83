"""The nodes of Edit One for All as ComfyUI runs them: under inference mode, wired one after the other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from semantic_edit.editing import attribute_values
from semantic_edit.editing.common.types import EditDirection, GanLatent
from semantic_edit.editing.one_for_all.render_and_correct import standard_value
from semantic_edit.headless import StoppedError
from semantic_edit.models import InputError, write_safetensors
from semantic_edit.models.files.direction import write_direction


@pytest.fixture
def batch(run_node, tiny_generator):
    """Five codes and their pictures."""
    (latent, *_), _ = run_node("SampleLatents", generator=tiny_generator, count=5, seed=3)
    (images,), _ = run_node("GenerateImages", generator=tiny_generator, latents=latent)
    return latent, images


@pytest.fixture
def smile(run_node, headless_host, tiny_generator):
    """A direction file on rows 0 to 2, loaded."""
    rng = torch.Generator().manual_seed(2)
    folder = headless_host.settings.models / "semantic_edit" / "directions"
    d = 0.3 * torch.randn(1, tiny_generator.w_dim, generator=rng)
    write_direction(folder / "smile.safetensors", d, layers=(0, 1, 2), family=tiny_generator.family, name="smile")
    return run_node("LoadDirection", generator=tiny_generator, file="smile.safetensors")[0][0]


@pytest.fixture
def edit(run_node, tiny_generator, batch, smile):
    """The first picture slid along `smile`, recorded."""
    (start, edited, _), _ = run_node(
        "SlideAttribute", generator=tiny_generator, latents=batch[0], direction=smile, index=0, amount=2.0
    )
    return run_node("RecordEdit", generator=tiny_generator, start=start, edited=edited, name="smile")[0][0]


def test_the_whole_chain_brings_everyone_to_one_state(run_node, tiny_generator, batch, edit):
    latent, _ = batch
    (direction,), _ = run_node("OptimizeDirection", generator=tiny_generator, edit=edit, steps=2)
    (strengths, alphas, report), _ = run_node("ComputeStrength", direction=direction, latents=latent)
    (edited,), _ = run_node("ApplyEdit", latents=latent, direction=direction, strength=strengths)
    values = attribute_values(direction, edited.codes)
    torch.testing.assert_close(values, torch.full((5,), direction.offset), atol=1e-2, rtol=1e-3)
    assert len(alphas) == 5 and edited.names == latent.names
    assert len(report.splitlines()) == 6 and latent.names[4] in report
    (images,), _ = run_node("GenerateImages", generator=tiny_generator, latents=edited)
    assert images.shape == (5, 32, 32, 3)
    (plot, text), _ = run_node("ConsistencyReport", direction=direction, before=latent, after=edited, attribute="")
    assert plot.shape[0] == 1 and plot.shape[-1] == 3 and "spread 0.00" in text


def test_a_direction_from_a_file_works_at_the_defaults(run_node, tiny_generator, batch, smile):
    """Without an example of its own it takes the average picture, moved by two deviations, and says so."""
    latent, _ = batch
    (strengths, _, report), _ = run_node("ComputeStrength", direction=smile, latents=latent)
    (edited,), _ = run_node("ApplyEdit", latents=latent, direction=smile, strength=strengths)
    states = standard_value(tiny_generator, smile, attribute_values(smile, edited.codes))
    torch.testing.assert_close(states, torch.full((5,), 2.0), atol=1e-3, rtol=0)
    assert report.splitlines()[-1].startswith("'smile' comes without an example, so the generator's average picture")
    (strengths, *_), _ = run_node("ComputeStrength", direction=smile, latents=latent, strength=0.0)
    (average,), _ = run_node("ApplyEdit", latents=latent, direction=smile, strength=strengths)
    states = standard_value(tiny_generator, smile, attribute_values(smile, average.codes))
    torch.testing.assert_close(states, torch.zeros(5), atol=1e-3, rtol=0)
    for options in ({"mode": "constant"}, {"reference": GanLatent(latent.codes[:1], family=latent.family)}):
        (_, _, report), _ = run_node("ComputeStrength", direction=smile, latents=latent, **options)
        assert "average picture is taken" not in report
    (_, _, measured), _ = run_node("ComputeStrength", direction=smile, latents=latent, generator=tiny_generator)
    assert "from the example" in measured and "average picture is taken" in measured
    other = replace(smile, name="other", direction=smile.direction.flip(1), normal=smile.normal.flip(1))
    (_, report, _), _ = run_node("CombineEdits", latents=latent, edit_1=smile, edit_2=other)
    assert "average picture is taken" in report
    (scaled,), _ = run_node("ScaleEdit", edit=smile, factor=-1.0)
    assert scaled.note.endswith("Then it was inverted.")


def test_the_example_itself_gets_its_own_edit(run_node, tiny_generator, batch, edit):
    latent, _ = batch
    (strengths, alphas, _), _ = run_node("ComputeStrength", direction=edit, latents=latent)
    (edited,), _ = run_node("ApplyEdit", latents=latent, direction=edit, strength=strengths)
    assert alphas[0] == pytest.approx(1.0, abs=1e-4)
    torch.testing.assert_close(edited.codes[0], edit.example[1], atol=1e-4, rtol=1e-4)


def test_saved_and_loaded_the_edit_is_the_same(run_node, tiny_generator, edit):
    (name,), shown = run_node("SaveDirection", direction=edit, name="set/smile")
    assert name.startswith("set/smile") and name.endswith(".safetensors") and name in str(shown)
    (again,), _ = run_node("LoadDirection", generator=tiny_generator, file=name)
    assert torch.equal(again.direction, edit.direction) and again.layers == edit.layers
    assert (again.start, again.offset, again.family) == (edit.start, edit.offset, edit.family)
    (second,), _ = run_node("SaveDirection", direction=edit, name="set/smile")
    assert second != name


def test_a_reference_picture_sets_the_target(run_node, batch, smile):
    latent, _ = batch
    one = GanLatent(latent.codes[3:4], latent.names[3:4], latent.family)
    (_, alphas, _), _ = run_node("ComputeStrength", direction=smile, latents=latent, reference=one)
    assert alphas[3] == pytest.approx(0.0, abs=1e-4)
    with pytest.raises(InputError, match="reference holds 5 codes"):
        run_node("ComputeStrength", direction=smile, latents=latent, reference=latent)


def test_the_limit_holds_in_every_mode(run_node, tiny_generator, batch, edit):
    latent, _ = batch
    for mode in ("same state", "constant", "number"):
        (strengths, alphas, report), _ = run_node(
            "ComputeStrength", direction=edit, latents=latent, mode=mode, strength=5.0, target=8.0, limit=0.25,
            generator=tiny_generator, corrections=0,
        )  # fmt: skip
        assert max(map(abs, alphas)) == 0.25 and bool(strengths.clamped.any())
        assert "limited to 0.25" in report and "(limit)" in report


def test_constant_strength_and_limit(run_node, batch, edit):
    latent, _ = batch
    (_, alphas, _), _ = run_node("ComputeStrength", direction=edit, latents=latent, mode="constant", strength=0.5)
    assert alphas == [0.5] * 5
    (strengths, alphas, report), _ = run_node("ComputeStrength", direction=edit, latents=latent, limit=0.25)
    assert max(abs(a) for a in alphas) <= 0.25 + 1e-6 and "(limit)" in report and bool(strengths.clamped.any())


def test_inversion_from_pictures(run_node, tiny_generator, batch):
    latent, images = batch
    (latents, redrawn, psnr, report, residual, fitted), _ = run_node(
        "InvertImages", generator=tiny_generator, images=images, steps=12, names="a\nb\nc\nd\ne"
    )
    assert latents.names == ("a", "b", "c", "d", "e") and latents.family == tiny_generator.family
    assert redrawn.shape == images.shape and len(psnr) == 5 and report.splitlines()[1].startswith("a: ")
    assert residual.shape == images.shape and 0 <= float(residual.min()) and float(residual.max()) <= 1
    assert fitted is tiny_generator
    (started, _, psnr, *_), _ = run_node("InvertImages", generator=tiny_generator, images=images, steps=0, start=latent)
    assert started.names == latent.names and min(psnr) > 30  # IMAGE clamps what lies outside 0..1
    bigger = torch.nn.functional.interpolate(images.movedim(-1, 1), scale_factor=2).movedim(1, -1)
    run_node("InvertImages", generator=tiny_generator, images=bigger, steps=1, mask=torch.ones(64, 64))


def test_inversion_with_starts_and_early_features(run_node, tiny_progan):
    codes = tiny_progan.map(torch.randn(2, 16, generator=torch.Generator().manual_seed(3)))
    images = (tiny_progan.synthesize(codes).clamp(-1, 1).movedim(1, -1) + 1) / 2
    (latents, redrawn, psnr, report, _, fitted), _ = run_node(
        "InvertImages", generator=tiny_progan, images=images, steps=6, starts=2, early_layers=3
    )
    assert latents.codes.shape == (2, 1, 16) and report.count("from the start 'sample") == 2
    assert sorted(fitted.adaptation.deltas) == [0, 1, 2] and fitted.family == tiny_progan.family
    again = (fitted.synthesize(latents.codes).clamp(-1, 1).movedim(1, -1) + 1) / 2
    assert torch.allclose(again, redrawn, atol=1e-4)
    with pytest.raises(InputError, match="early_layers is 20; 'tiny progan' has 8 layers"):
        run_node("InvertImages", generator=tiny_progan, images=images, steps=1, early_layers=20)
    with pytest.raises(InputError, match="mask is empty"):
        run_node("InvertImages", generator=tiny_progan, images=images, steps=1, mask=torch.zeros(32, 32))
    with pytest.raises(InputError, match="expected a MASK"):
        run_node("InvertImages", generator=tiny_progan, images=images, steps=1, mask=torch.ones(2, 3, 8, 8))


def test_an_encoder_gives_a_start(run_node, headless_host, tiny_generator, batch):
    from semantic_edit.models.encoders.encoder import Encoder, EncoderConfig, save_encoder

    config = EncoderConfig(size=32, width=4, num_layers=tiny_generator.num_layers, w_dim=tiny_generator.w_dim, hidden=8)
    folder = headless_host.settings.models / "semantic_edit" / "encoders"
    save_encoder(folder / "small.safetensors", Encoder(config, tiny_generator.family))
    (codes,), _ = run_node("EncodeImages", generator=tiny_generator, images=batch[1], file="small.safetensors")
    assert len(codes) == 5 and codes.family == tiny_generator.family
    save_encoder(folder / "other.safetensors", Encoder(config, "elsewhere"))
    with pytest.raises(InputError, match="elsewhere"):
        run_node("EncodeImages", generator=tiny_generator, images=batch[1], file="other.safetensors")


def test_interrupting_an_inversion_stops_within_a_step(run_node, headless_host, tiny_generator, batch, monkeypatch):
    calls = []

    def stop_at_third(self):
        calls.append(1)
        if len(calls) == 3:
            raise StoppedError("stopped")

    monkeypatch.setattr(type(headless_host), "check_interrupt", stop_at_third)
    with pytest.raises(StoppedError):
        run_node("InvertImages", generator=tiny_generator, images=batch[1], steps=50)
    assert len(calls) == 3


def test_a_folder_of_mixed_pictures(run_node, headless_host, tiny_generator):
    folder = headless_host.settings.input / "set"
    folder.mkdir()
    Image.new("RGB", (40, 20), (255, 0, 0)).save(folder / "2.png")
    Image.new("RGBA", (10, 30), (0, 255, 0, 0)).save(folder / "10.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (images, masks, names, report), _ = run_node("LoadImageFolder", folder="set", generator=tiny_generator)
    assert images.shape == (2, 32, 32, 3) and names == "2.png\n10.png"
    assert report.splitlines() == ["2 of 3 pictures loaded.", "broken.jpg: not a picture"]
    assert float(masks[1].min()) == 1.0
    (images, *_), _ = run_node("LoadImageFolder", folder="set", width=16, height=8, first=1, limit=1)
    assert images.shape == (1, 8, 16, 3)


def test_what_a_folder_holds_beside_pictures_is_named_in_the_report_and_on_the_node(run_node, headless_host):
    folder = headless_host.settings.input / "set"
    folder.mkdir()
    Image.new("RGB", (40, 20), (255, 0, 0)).save(folder / "a.jfif", "JPEG")
    Image.new("RGB", (40, 20), (255, 0, 0)).save(folder / "b.png", icc_profile=b"nonsense" * 20)
    (folder / "c.psd").touch()
    (_, _, names, report), shown = run_node("LoadImageFolder", folder="set")
    lines = report.splitlines()
    assert names == "a.jfif\nb.png" and lines[0] == "2 of 2 pictures loaded."
    assert lines[1].startswith("b.png: its colour profile") and lines[2].startswith("1 file was passed over")
    assert lines[2].endswith(": c.psd.") and list(shown["text"]) == [report]
    (folder / "a.jfif").unlink()
    (folder / "b.png").unlink()
    with pytest.raises(InputError, match="holds no pictures.*HEIC into it.*1 file was passed over.*c.psd"):
        run_node("LoadImageFolder", folder="set")


def test_the_folder_is_read_again_when_a_file_changes(headless_host):
    from semantic_edit.nodes.photos.load_image_folder import LoadImageFolder

    folder = headless_host.settings.input / "set"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    before = LoadImageFolder.fingerprint_inputs(folder="set")
    assert LoadImageFolder.fingerprint_inputs(folder="set") == before
    Image.new("RGB", (4, 4)).save(folder / "b.png")
    assert LoadImageFolder.fingerprint_inputs(folder="set") != before


def test_folders_that_are_empty_unknown_or_outside(run_node, headless_host):
    (headless_host.settings.input / "empty").mkdir()
    with pytest.raises(InputError, match="'empty' holds no pictures"):
        run_node("LoadImageFolder", folder="empty")
    for name in ("../output", "/etc", "absent"):
        with pytest.raises(InputError, match="no folder"):
            run_node("LoadImageFolder", folder=name)
    with pytest.raises(InputError, match="both width and height"):
        run_node("LoadImageFolder", folder="empty", width=5)


def test_measured_attributes_in_the_report(run_node, batch, edit):
    latent, _ = batch
    before, after = json.dumps({"smile": [0, 1, 2, 3, 4]}), json.dumps({"smile": [3.0, 3.1, 3.2, 3.1, 3.0]})
    inputs = dict(direction=edit, before=latent, after=latent, measured_before=before, measured_after=after)
    (_, text), _ = run_node("ConsistencyReport", attribute="smile", **inputs)
    assert "measured smile" in text and "spread 0.05" in text
    with pytest.raises(InputError, match="'hat' was not measured; available: smile"):
        run_node("ConsistencyReport", attribute="hat", **inputs)
    with pytest.raises(InputError, match="connect measured_before"):
        run_node("ConsistencyReport", direction=edit, before=latent, after=latent, attribute="smile")
    with pytest.raises(InputError, match="not a table"):
        run_node("ConsistencyReport", attribute="smile", **{**inputs, "measured_before": "[1]"})
    with pytest.raises(InputError, match="holds 1 pictures"):
        run_node("ConsistencyReport", attribute="smile", **{**inputs, "measured_before": '{"smile": [1]}'})


def test_values_of_another_family_are_refused_before_the_work(run_node, headless_host, tiny_generator, batch, edit):
    latent, _ = batch
    stranger = GanLatent(latent.codes, latent.names, "elsewhere")
    foreign = EditDirection(edit.direction, edit.normal, edit.layers, 0.0, 1.0, "m", "elsewhere", "x", edit.example)
    for node, inputs in (
        ("ComputeStrength", dict(direction=edit, latents=stranger)),
        ("RecordEdit", dict(generator=tiny_generator, start=stranger, edited=stranger)),
        ("OptimizeDirection", dict(generator=tiny_generator, edit=foreign)),
        ("InvertImages", dict(generator=tiny_generator, images=batch[1], start=stranger)),
        ("ConsistencyReport", dict(direction=edit, before=latent, after=stranger)),
    ):
        with pytest.raises(InputError, match="elsewhere"):
            run_node(node, **inputs)


def test_wrong_examples_are_refused(run_node, tiny_generator, batch, smile):
    latent, _ = batch
    with pytest.raises(InputError, match="index is 9, but the batch has the pictures 0 to 4"):
        run_node("SlideAttribute", generator=tiny_generator, latents=latent, direction=smile, index=9)
    with pytest.raises(InputError, match="amount of 0"):
        run_node("SlideAttribute", generator=tiny_generator, latents=latent, direction=smile, amount=0.0)
    with pytest.raises(InputError, match="holds 5 codes; pick the example"):
        run_node("RecordEdit", generator=tiny_generator, start=latent, edited=latent)
    one = GanLatent(latent.codes[:1], latent.names[:1], latent.family)
    with pytest.raises(InputError, match="equal"):
        run_node("RecordEdit", generator=tiny_generator, start=one, edited=one)
    bare = replace(smile, start=None, offset=None, example=None)
    with pytest.raises(InputError, match="without an example"):
        run_node("OptimizeDirection", generator=tiny_generator, edit=bare)
    with pytest.raises(InputError, match="without an example"):
        run_node("ComputeStrength", direction=bare, latents=latent)
    with pytest.raises(InputError, match="Unknown mode"):
        run_node("ComputeStrength", direction=smile, latents=latent, mode="best")


def test_direction_files_of_others(run_node, headless_host, tiny_generator):
    folder = headless_host.settings.models / "semantic_edit" / "directions"
    write_direction(folder / "wide.safetensors", torch.ones(1, 999))
    write_direction(folder / "far.safetensors", torch.ones(1, tiny_generator.w_dim), family="elsewhere")
    write_direction(folder / "zero.safetensors", torch.zeros(1, tiny_generator.w_dim))
    write_safetensors(folder / "codes.safetensors", {"codes": torch.ones(1, 4, 4)}, "latents")
    words = ("another generator", "elsewhere", "zero", "not a 'direction' file")
    for name, match in zip(("wide", "far", "zero", "codes"), words, strict=True):
        with pytest.raises(InputError, match=match):
            run_node("LoadDirection", generator=tiny_generator, file=f"{name}.safetensors")
