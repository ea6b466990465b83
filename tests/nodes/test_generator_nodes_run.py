"""The generator stage as ComfyUI runs it: under inference mode, on locked classes, with files in folders."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.headless import StoppedError
from semantic_edit.models import InputError, save_generator


@pytest.fixture
def generator_file(headless_host, tiny_network):
    """tiny.safetensors in the models folder."""
    folder = headless_host.settings.models / "semantic_edit" / "generators"
    return save_generator(folder / "tiny.safetensors", tiny_network)


@pytest.fixture
def sampled(run_node, tiny_generator):
    """Four codes of `tiny_generator`."""
    return run_node("SampleLatents", generator=tiny_generator, count=4, seed=3)[0][0]


def test_load_generator_lists_loads_and_stays_trainable(run_node, generator_file, tiny_generator):
    from semantic_edit.nodes.generator.load_generator import LoadGenerator

    # The shipped demo generator stands in the same list by itself.
    assert LoadGenerator.GET_SCHEMA().inputs[0].options == ["demo_portraits.safetensors", "tiny.safetensors"]
    (generator,), _ = run_node("LoadGenerator", file="tiny.safetensors")
    assert generator.name == "tiny" and generator.family == tiny_generator.family
    assert not any(tensor.is_inference() for tensor in generator.network.state_dict().values())
    w = generator.map(torch.randn(1, 16)).requires_grad_()
    generator.synthesize(w).square().mean().backward()
    assert float(w.grad.abs().sum()) > 0


def test_a_replaced_generator_is_loaded_again(run_node, generator_file, tiny_network):
    from semantic_edit.nodes.generator.load_generator import LoadGenerator

    first = LoadGenerator.fingerprint_inputs(file="tiny.safetensors")
    assert LoadGenerator.fingerprint_inputs(file="tiny.safetensors") == first != ""
    save_generator(generator_file, tiny_network, half=True)
    assert LoadGenerator.fingerprint_inputs(file="tiny.safetensors") != first
    assert LoadGenerator.fingerprint_inputs(file=None) == LoadGenerator.fingerprint_inputs(file="gone") == ""


def test_an_empty_folder_tells_what_to_do(run_node, headless_host):
    from semantic_edit.nodes.common.model_files import empty_folder_entry, file_input

    assert file_input("imagic", "file", "x").options == [empty_folder_entry("imagic")]
    with pytest.raises(InputError, match="no generators yet. Put .safetensors files into .*node Convert Checkpoint"):
        run_node("LoadGenerator", file=empty_folder_entry("generators"))


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "absent.safetensors", ""])
def test_typed_paths_are_refused(run_node, generator_file, name):
    (generator_file.parents[1] / "secret.safetensors").write_bytes(generator_file.read_bytes())
    with pytest.raises(InputError, match="There is no file"):
        run_node("LoadGenerator", file=name)


def test_a_pickle_or_damaged_generator_is_a_sentence(run_node, generator_file):
    generator_file.write_bytes(generator_file.read_bytes()[:5000])
    with pytest.raises(InputError, match="tiny.safetensors cannot be read as safetensors"):
        run_node("LoadGenerator", file="tiny.safetensors")


def test_sample_and_generate(run_node, tiny_generator, sampled):
    assert sampled.names == tuple(f"seed 3 #{k}" for k in range(1, 5)) and sampled.family == tiny_generator.family
    (images,), _ = run_node("GenerateImages", generator=tiny_generator, latents=sampled)
    assert images.shape == (4, 32, 32, 3) and images.dtype == torch.float32
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    expected = tiny_generator.synthesize(sampled.codes).clamp(-1, 1).movedim(1, -1) / 2 + 0.5
    torch.testing.assert_close(images, expected, atol=1e-6, rtol=0)
    assert torch.equal(run_node("GenerateImages", generator=tiny_generator, latents=sampled)[0][0], images)


def test_noise_decides_the_grain_only(run_node, tiny_generator, sampled):
    def pictures(noise, seed=0):
        arguments = {"generator": tiny_generator, "latents": sampled, "noise": noise, "noise_seed": seed}
        return run_node("GenerateImages", **arguments)[0][0]

    assert torch.equal(pictures("constant", 1), pictures("constant", 2))
    assert torch.equal(pictures("seeded", 1), pictures("seeded", 1))
    for first, second in (("constant", "none"), ("constant", "seeded"), ("none", "seeded")):
        assert not torch.equal(pictures(first), pictures(second))
    assert not torch.equal(pictures("seeded", 1), pictures("seeded", 2))


def test_generating_previews_and_stops_when_asked(run_node, tiny_generator, sampled, headless_host, monkeypatch):
    from semantic_edit.models.gan import generator as module

    monkeypatch.setitem(module._PIXELS_PER_CHUNK, "cpu", 32 * 32)
    steps = []

    def progress(total, label=""):
        def report(step, total, preview=None):
            steps.append((step, total, tuple(preview.shape), float(preview.min()) > -0.5))
            headless_host.check_interrupt()
            if step == 2:
                headless_host.interrupt()

        return report

    monkeypatch.setattr(headless_host, "progress", progress)
    with pytest.raises(StoppedError):
        run_node("GenerateImages", generator=tiny_generator, latents=sampled)
    assert [step[:3] for step in steps] == [(k, 4, (3, 32, 32)) for k in (1, 2, 3)]


def test_seeded_noise_does_not_depend_on_how_the_batch_is_cut(tiny_generator, sampled):
    at_once, one_by_one = (tiny_generator.synthesize(sampled.codes, 5, chunk=chunk) for chunk in (4, 1))
    torch.testing.assert_close(at_once, one_by_one, atol=1e-5, rtol=0)


def test_select_and_blend(run_node, tiny_generator, sampled):
    (selected,), _ = run_node("SelectLatents", latents=sampled, indices="3, 0-1")
    assert torch.equal(selected.codes, sampled.codes[[3, 0, 1]])
    (one,), _ = run_node("SelectLatents", latents=sampled, indices="-1")
    for mode in ("linear", "spherical"):
        options = {"amount": 1.0, "mode": mode, "layers": "coarse", "generator": tiny_generator}
        (mixed,), _ = run_node("BlendLatents", a=selected, b=one, **options)
        torch.testing.assert_close(mixed.codes[:, :3], one.codes[:, :3].expand(3, -1, -1), atol=1e-5, rtol=0)
        assert torch.equal(mixed.codes[:, 3:], selected.codes[:, 3:])


def test_nodes_leave_their_inputs_alone(run_node, tiny_generator, sampled):
    before, weights = sampled.codes.clone(), {k: v.clone() for k, v in tiny_generator.network.state_dict().items()}
    run_node("GenerateImages", generator=tiny_generator, latents=sampled)
    run_node("BlendLatents", a=sampled, b=sampled, amount=0.3, mode="spherical")
    run_node("SelectLatents", latents=sampled, indices="0")
    run_node("SaveLatents", latents=sampled)
    assert torch.equal(sampled.codes, before)
    assert all(torch.equal(weights[k], v) for k, v in tiny_generator.network.state_dict().items())


@pytest.mark.parametrize(
    ("node", "inputs", "sentence"),
    [
        ("SampleLatents", {"count": 0}, "'count' is 0; expected a number from 1"),
        ("SampleLatents", {"truncation_layers": 9}, "truncation_layers is 9; the generator 'tiny' has 8 rows"),
        ("SampleLatents", {"label": 4}, "'tiny' has no classes"),
        ("GenerateImages", {"latents": GanLatent(torch.zeros(1, 10, 16))}, "shape .1, 10, 16."),
        ("GenerateImages", {"latents": GanLatent(torch.zeros(1, 8, 16), family="cats")}, "family 'cats', but 'tiny'"),
        (
            "GenerateImages",
            {"latents": GanLatent(torch.zeros(1, 8, 16)), "noise": "loud"},
            "Unknown noise 'loud'; expected",
        ),
    ],
)
def test_wrong_inputs_are_a_sentence(run_node, tiny_generator, node, inputs, sentence):
    with pytest.raises(InputError, match=sentence):
        run_node(node, generator=tiny_generator, **inputs)


def test_codes_without_a_family_are_used_with_a_warning(run_node, tiny_generator, caplog):
    run_node("GenerateImages", generator=tiny_generator, latents=GanLatent(torch.zeros(1, 8, 16)))
    assert "names no generator family" in caplog.text
