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
from semantic_edit.models.files.concepts import read_concepts
from semantic_edit.offline.train_demo.__main__ import main
from semantic_edit.offline.train_demo.common import r_squared, warm_cosine
from semantic_edit.offline.train_demo.data_parallel import ThreadedDataParallel


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
    assert (folder / "generator" / "sheet_32.png").is_file()
    assert "32 px step 2" in (folder / "generator" / "generator.log").read_text()


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
