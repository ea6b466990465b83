"""The check-up of a model of one's own: random weights are told from trained ones, and nothing personal gets out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from semantic_edit.editing.common.sample import sample
from semantic_edit.headless.commands.cli import main
from semantic_edit.jobs.check import check_diffusion, check_generator
from semantic_edit.jobs.check.samples import DEMO, measure_samples
from semantic_edit.jobs.check.suitability import Times, warnings_of
from semantic_edit.jobs.check.weights import LOOKS_RANDOM, random_share
from semantic_edit.models import load_generator
from semantic_edit.models.diffusion.folder import load_diffusion
from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint, save_generator
from semantic_edit.models.loading.torchvision_stubs import allow_declaring

allow_declaring()
ROOT = Path(__file__).resolve().parents[3]
DEMO_FILE = ROOT / "models" / "demo" / "generators" / "demo_portraits.safetensors"


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Inversions take the fewest steps, as on a slow machine."""
    monkeypatch.setattr("semantic_edit.jobs.check.gan._SECONDS", 0.0)


@pytest.fixture
def photos():
    return torch.rand(2, 3, 40, 30, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_random_generator_is_measured_and_said_to_look_random(tiny_generator, photos):
    steps = []
    report = check_generator(tiny_generator, photos, progress=lambda step, total, _: steps.append((step, total)))
    assert "look random" in report.warnings[0] and "100%" in report.warnings[0]
    text = report.text()
    for words in (
        "32 x 32",
        "8 rows of 16",
        "Inversion of photos",
        "photo 2:",
        "20 steps of 150",
        "a step of optimisation",
    ):
        assert words in text
    assert [step for step, _ in steps] == sorted(step for step, _ in steps) and steps[-1][0] == steps[-1][1]
    assert [sheet.has_photos for sheet in report.sheets] == [False, False, True]
    shared, own = report.page(with_photos=False), report.page()
    assert own.shape[0] > shared.shape[0] and own.shape[1:] == shared.shape[1:]
    again = check_generator(tiny_generator)
    assert all(torch.equal(a.image, b.image) for a, b in zip(report.sheets[:2], again.sheets, strict=True))


def test_trained_weights_are_told_from_drawn_ones():
    trained = load_generator(DEMO_FILE)
    assert random_share(trained.network) < LOOKS_RANDOM
    rng = torch.Generator().manual_seed(2)
    for draw in (torch.randn, torch.rand):
        layers = [torch.nn.Linear(n, m) for n, m in ((300, 200), (64, 64), (40, 700), (128, 128), (512, 30))]
        for layer in layers:
            layer.weight.data = draw(layer.weight.shape, generator=rng) * 0.1 + 0.01
        assert random_share(torch.nn.Sequential(*layers)) == 1
        for layer in layers[:2]:  # a direction that stands out, as training leaves it
            layer.weight.data[:, 0] += 5 * layer.weight.data.std()
        assert random_share(torch.nn.Sequential(*layers)) == pytest.approx(0.6)
    assert random_share(torch.nn.Linear(3, 3)) == 0


def test_the_figures_beside_are_the_demo_generator_s_and_nothing_warns_of_it():
    generator = load_generator(DEMO_FILE)
    codes = sample(generator, 16, 0).codes
    measured = measure_samples(generator, codes, generator.synthesize(codes))
    assert vars(measured) == pytest.approx(vars(DEMO), rel=0.02, abs=0.002)
    assert warnings_of(generator, measured, 0.6, Times(0.1, 0.3), [25.0]) == []
    slow = warnings_of(generator, measured, 0.6, Times(1.0, 9.0), [12.0])
    assert len(slow) == 2 and "12.0 dB" in slow[0] and "22 min a photo" in slow[1]


def test_what_does_not_apply_is_said(tiny_progan, make_network):
    words = " ".join(check_generator(tiny_progan).warnings)
    assert "Progressive GAN has one code" in words
    network = make_network(const_size=(4, 8), c_dim=3, img_channels=4)
    report = check_generator(GanGenerator(network, family_fingerprint(network), "odd"))
    words = " ".join(report.warnings)
    for expected in ("3 classes", "32 x 16", "4 channels"):
        assert expected in words


def test_a_stylegan3_is_described_without_its_margins(tiny_stylegan3):
    words = check_generator(tiny_stylegan3).text()
    assert "features of 16 px (layer 2)" in words and "do not work on a StyleGAN3" in words


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, forge_diffusion):
    return load_diffusion(forge_diffusion(tmp_path_factory.mktemp("pipeline")))


@pytest.mark.parametrize("with_photos", [False, True])
def test_a_random_diffusion_model_is_measured_and_said_to_look_random(bundle, with_photos):
    photos = torch.rand(2, 20, 18, 3, generator=torch.Generator().manual_seed(4)) if with_photos else None
    before = [weight.clone() for weight in bundle.model.network.parameters()]
    report = check_diffusion(bundle, photos)
    assert all(torch.equal(a, b) for a, b in zip(before, bundle.model.network.parameters(), strict=True))
    assert any("look random" in warning for warning in report.warnings)
    for words in ("epsilon", "tokens", "with a gradient", "photos come back" if with_photos else "samples come back"):
        assert words in report.text()
    assert [sheet.has_photos for sheet in report.sheets] == [False, with_photos]


def test_the_command_leaves_a_page_without_photos_and_names(tiny_generator, tmp_path, capsys):
    model, album = tmp_path / "anna-private.safetensors", tmp_path / "holiday"
    save_generator(model, tiny_generator.network)
    album.mkdir()
    Image.effect_noise((50, 40), 60).convert("RGB").save(album / "grandma.png")
    (album / "notes.txt").write_text("no picture")
    assert main(["check", str(model), str(album), "--output", str(tmp_path / "out"), "--device", "cpu"]) == 0
    folder = tmp_path / "out" / "check"
    assert sorted(path.name for path in folder.iterdir()) == ["page.jpg", "photos.jpg", "report.txt"]
    with Image.open(folder / "page.jpg") as page, Image.open(folder / "photos.jpg") as own:
        assert page.width == own.width and page.height < own.height and not page.getexif()
    text = (folder / "report.txt").read_text()
    assert "look random" in text and "photo 1:" in text
    for name in ("anna", "grandma", "holiday", str(tmp_path)):
        assert name not in text
    assert "photos.jpg shows photos" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{demo}", "{here}/none.png"], "There is no photo or folder"),
        (["{demo}", "{here}"], "holds no pictures"),
        (["{here}"], "without model_index.json"),
        (["{here}/a.pkl"], "semantic-edit convert"),
        (["{here}/none.safetensors"], "none.safetensors"),
    ],
)
def test_wrong_arguments_are_a_sentence(tmp_path, capsys, arguments, words):
    filled = [argument.format(demo=DEMO_FILE, here=tmp_path) for argument in arguments]
    assert main(["check", *filled, "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said and not (tmp_path / "out" / "check").exists()
