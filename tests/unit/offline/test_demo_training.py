"""Every training job runs for a few steps and leaves a file that the pack can read."""

from __future__ import annotations

import shutil

import pytest
import torch
from semantic_edit.demo.readers import load_reader
from semantic_edit.demo.segmenter import load_segmenter
from semantic_edit.editing.paint.concepts import ConceptUnits
from semantic_edit.models import load_generator
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.errors import InputError
from semantic_edit.models.files.concepts import read_concepts
from semantic_edit.models.gan.stylegan2 import StyleGAN2
from semantic_edit.models.gan.stylegan2_config import StyleGAN2Config
from semantic_edit.offline.train_demo.__main__ import main
from semantic_edit.offline.train_demo.common import r_squared, warm_cosine
from semantic_edit.offline.train_demo.data_parallel import ThreadedDataParallel
from semantic_edit.offline.train_demo.sharpening.muon import Muon, orthogonalise
from semantic_edit.offline.train_demo.sharpening.sharpen import hold_then_cosine
from semantic_edit.offline.train_demo.sharpening.widen import widen_generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


def train(job: str, out) -> None:
    # One thread: two of them waiting for each other on a busy machine take minutes for what one does in seconds.
    main([job, "--out", str(out), "--smoke", "--threads", "1"])


@pytest.fixture(scope="module")
def generator_file(folder):
    train("generator", folder / "generator")
    return folder / "generator" / "portraits.safetensors"


def test_training_leaves_torch_as_it_was(folder):
    torch.manual_seed(3)
    threads, expected = torch.get_num_threads(), torch.rand(1)
    torch.manual_seed(3)
    train("oracle", folder / "oracle")
    assert torch.equal(torch.rand(1), expected) and torch.get_num_threads() == threads
    oracle = load_reader(folder / "oracle" / "portraits.safetensors", "oracle")
    assert oracle(torch.zeros(2, 3, 96, 96)).shape == (2, 15)


def test_the_generator_grows(generator_file, folder):
    generator = load_generator(generator_file)
    assert generator.resolution == (32, 32) and generator.num_layers == 8
    assert generator.w_mean.abs().max() > 0
    assert generator.synthesize(generator.map(torch.randn(2, 64))).shape == (2, 3, 32, 32)
    log = (folder / "generator" / "generator.log").read_text()
    for job in ("", "sharp_"):
        assert (folder / "generator" / f"sheet_{job}32.png").is_file()
        assert f"{job.replace('_', ' ')}32 px step 2" in log


def test_sharpening_keeps_the_w_space(generator_file):
    start, sharp = load_generator(generator_file.parent / "generator.safetensors"), load_generator(generator_file)
    assert sharp.family == start.family and torch.equal(sharp.w_mean, start.w_mean)
    assert sharp.network.config.channels > start.network.config.channels
    old, learned = start.network.state_dict(), sharp.network.state_dict()
    assert all(torch.equal(old[name], learned[name]) for name in old if name.startswith("mapping."))
    assert not torch.equal(old["synthesis.b32.conv1.bias"], learned["synthesis.b32.conv1.bias"][:96])


@pytest.mark.parametrize("name", ["generator.safetensors", "portraits.safetensors"])
def test_a_training_starts_from_the_generator_it_finds_of_either_width(generator_file, tmp_path, name):
    shutil.copy(generator_file.parent / "features.safetensors", tmp_path)
    shutil.copy(generator_file.parent / name, tmp_path / "generator.safetensors")
    train("generator", tmp_path)
    start, sharp = (load_generator(tmp_path / name) for name in ("generator.safetensors", "portraits.safetensors"))
    assert sharp.family == start.family and sharp.network.config.channels == (168, 160, 160, 104)
    assert not torch.equal(start.network.synthesis.b4.const[:160], sharp.network.synthesis.b4.const[:160])
    assert not (tmp_path / "state.safetensors").exists()
    # What has been widened before has learned at half size before.
    assert (tmp_path / "state_sharp_16.safetensors").exists() == (name == "generator.safetensors")


def test_a_start_that_is_too_small_is_refused(generator_file, tmp_path):
    shutil.copy(generator_file, tmp_path / "generator.safetensors")
    with pytest.raises(InputError, match="expected a generator of 128 px or more .* 32 x 32 px"):
        main(["generator", "--out", str(tmp_path), "--threads", "1"])


def test_a_widened_generator_paints_the_same():
    rng = torch.Generator().manual_seed(4)
    narrow = StyleGAN2(StyleGAN2Config(z_dim=8, w_dim=8, channels=(6, 6, 4), mapping_layers=2), rng)
    with torch.no_grad():
        for name, parameter in narrow.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
    wide = widen_generator(narrow, (9, 6, 8), torch.Generator().manual_seed(5))
    codes = torch.randn(3, narrow.config.num_layers, 8, generator=rng)
    expected = narrow.synthesis(codes).image.detach()
    assert torch.allclose(wide.synthesis(codes).image, expected, atol=1e-4 * float(expected.abs().max()))
    assert wide.config.channels == (9, 6, 8)
    wide.synthesis(codes).image.square().mean().backward()
    grad = wide.synthesis.b16.conv1.weight.grad
    assert grad[:4, 4:].abs().max() > 0  # what is zero learns


def test_muon_moves_every_direction_alike():
    rng = torch.Generator().manual_seed(6)
    matrix = torch.randn(12, 40, generator=rng) * torch.logspace(0, -1.5, 12)[:, None]
    for turned in (matrix, matrix.t()):
        values = torch.linalg.svdvals(orthogonalise(turned))
        assert values.min() > 0.5 and values.max() < 1.4


def test_muon_learns_and_leaves_the_rest_to_adam():
    rng = torch.Generator().manual_seed(7)
    weight, bias = torch.nn.Parameter(torch.zeros(4, 6)), torch.nn.Parameter(torch.zeros(4))
    x, target = torch.randn(64, 6, generator=rng), torch.randn(64, 4, generator=rng)
    threads = torch.get_num_threads()
    try:
        optimizer, losses = Muon([weight], [bias], 0.02, ThreadedDataParallel(1)), []
        for _ in range(60):
            loss = (x @ weight.t() + bias - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    finally:
        torch.set_num_threads(threads)
    assert losses[-1] < 0.95 * losses[0] and bias.detach().abs().max() > 0
    assert set(optimizer.state[weight]) == {"momentum"} and "exp_avg" in optimizer.state[bias]


def test_the_rate_falls_to_its_last_share():
    rates = [hold_then_cosine(step / 100, 0.7, 0.3) for step in range(101)]
    assert rates[0] == rates[69] == 1 and rates[100] == pytest.approx(0.3)
    assert all(a >= b for a, b in zip(rates, rates[1:], strict=False))


def test_a_finished_training_resumes_to_the_same_generator(generator_file, folder):
    again = folder / "again"
    shutil.copytree(generator_file.parent, again)
    (again / "portraits.safetensors").unlink()
    main(["generator", "--out", str(again), "--smoke", "--resume", "--threads", "1"])
    first, second = (
        load_generator(path).network.state_dict() for path in (generator_file, again / generator_file.name)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_encoder_learns_for_that_generator(generator_file, folder):
    (folder / "encoder").mkdir()
    shutil.copy(generator_file, folder / "encoder" / "generator.safetensors")
    train("encoder", folder / "encoder")
    encoder, generator = load_encoder(folder / "encoder" / "portraits.safetensors"), load_generator(generator_file)
    assert encoder.encode(torch.zeros(3, 3, 40, 40), generator).shape == (3, 8, 128)


def test_identity_and_segmenter(folder):
    train("identity", folder / "identity")
    train("segmenter", folder / "segmenter")
    assert load_reader(folder / "identity" / "portraits.safetensors", "identity")(torch.zeros(1, 3, 64, 64)).shape == (
        1,
        64,
    )
    masks = load_segmenter(folder / "segmenter" / "portraits.safetensors").masks(torch.zeros(2, 3, 80, 80))
    assert masks.shape == (2, 9, 80, 80) and torch.allclose(masks.sum(1), torch.ones(2, 80, 80), atol=1e-4)


def test_threads_compute_the_whole_batchs_gradient():
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(6, 3, 3, 3, generator=generator))
    x = torch.randn(8, 3, 12, 12, generator=generator).contiguous(memory_format=torch.channels_last)

    def loss(x):
        value = torch.nn.functional.conv2d(x, weight).square().mean()
        return value, value.detach()

    (expected,) = torch.autograd.grad(loss(x)[0], [weight])
    threads = torch.get_num_threads()
    try:
        figure = ThreadedDataParallel(2).gradients(loss, [weight], x)
    finally:
        torch.set_num_threads(threads)
    assert torch.allclose(weight.grad, expected, atol=1e-6) and weight.grad.is_contiguous()
    assert torch.allclose(figure, loss(x)[1], atol=1e-6)


def test_r_squared_counts_what_is_visible():
    target = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 5.0]])
    predicted = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, -9.0]])
    shown = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    assert r_squared(predicted, target, shown).tolist() == [1.0, 1.0]
    assert r_squared(predicted, target)[1] < 0


def test_the_rate_warms_up_holds_and_falls():
    rates = [warm_cosine(step, 100, 10, 0.5) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[50] == 1 and rates[100] == pytest.approx(0, abs=1e-9)
    assert all(a >= b for a, b in zip(rates[50:], rates[51:], strict=False))


def test_the_concepts_of_that_generator_are_found(generator_file, folder):
    out = folder / "concepts"
    out.mkdir()
    train("segmenter", out)
    shutil.copy(out / "portraits.safetensors", out / "segmenter.safetensors")
    shutil.copy(generator_file, out / "portraits.safetensors")
    train("concepts", out)
    concepts = ConceptUnits(**read_concepts(out / "concepts" / "portraits.safetensors"))
    assert "hat" in concepts.names and concepts.family == load_generator(generator_file).family
