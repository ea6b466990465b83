"""Edit models, which see the photo as a reference latent: losses by their formulas, no inversion, SliderEdit's form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from semantic_edit.editing import PairEdit, PairSettings, apply_pair_edit, learn_pair_edit
from semantic_edit.editing.common.diffusion.lora import init_loras, select_layers
from semantic_edit.editing.pair.multiplier import MixedRowsError, scaled_hooks
from semantic_edit.editing.pair.separate_passes import SeparatePasses
from semantic_edit.editing.pair.settings import LOSSES, PairSampling
from semantic_edit.models.diffusion.guidance import euler_step
from semantic_edit.models.diffusion.model import DiffusionModel
from semantic_edit.models.diffusion.schedule import NoiseSchedule
from semantic_edit.models.errors import InputError

SETTINGS = PairSettings(steps=4, content_steps=3, rate=2e-3, rank=2, draws=3, reference=True)
SAMPLING = PairSampling(steps=4)


@dataclass(frozen=True, eq=False)
class EditModel(DiffusionModel):
    """A network that sees the noisy picture and its reference, mixed."""

    def condition(self, embedding, extras, shape):
        condition = super().condition(embedding, extras, shape)
        (reference,) = extras.get("reference_latents", [None])
        return condition if reference is None else {**condition, "reference": self.latent_in(reference)}

    def takes_references(self, condition):
        return "reference" in condition

    def denoise(self, x, sigma, condition):
        reference = condition.get("reference")
        if reference is not None:
            reference = reference if len(reference) == len(x) else reference.expand_as(x)
            x = 0.6 * x + 0.4 * reference
        return super().denoise(x, sigma, {key: item for key, item in condition.items() if key != "reference"})


@pytest.fixture(params=["epsilon", "flow"])
def model(request, tiny_unet):
    schedule = NoiseSchedule.flow(shift=3.0) if request.param == "flow" else NoiseSchedule.discrete()
    return EditModel(tiny_unet, schedule, name="editor")


@pytest.fixture
def pairs():
    rng = torch.Generator().manual_seed(1)
    before = torch.randn(2, 4, 8, 8, generator=rng)
    return before, before + 0.5 * torch.randn(1, 4, 8, 8, generator=rng)


def sentence(seed, tokens=7):
    return torch.randn(1, tokens, 32, generator=torch.Generator().manual_seed(seed)), {}


KEEP, EDIT = sentence(2), sentence(3, 9)  # of other lengths: the two never share a batch


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reference", [True, False])
def test_each_loss_is_its_formula(loss, reference, model, pairs):
    """Against merged weights, one picture at a time."""
    if not reference and loss != "SliderEdit":
        pytest.skip("the losses of one batch, tested elsewhere")
    settings = replace(SETTINGS, loss=loss, eta=3.0, reference=reference)
    a, b = (model.latent_in(side) for side in pairs)
    pairs = SeparatePasses(model, a, b, None, KEEP, EDIT if loss == "SliderEdit" else None, reference)
    layers = select_layers(model.network, ("all",))
    loras = init_loras(layers, 2, torch.Generator().manual_seed(5))
    with torch.no_grad():
        for lora in loras.values():
            lora.up.normal_(generator=torch.Generator().manual_seed(6)).mul_(0.1)
    draws = pairs.draw(settings, torch.Generator().manual_seed(7))
    with torch.no_grad(), scaled_hooks(layers, loras) as slider:
        terms = list(pairs.slider_terms(draws, settings, slider))
        value = float(sum(terms))
        slider.strengths = None
        content = float(sum(pairs.content_terms(draws, settings)))

    def denoised(x0, ref, k, strength=0.0, entry=KEEP):
        changes = {f"{name}.weight": lora.delta.detach() for name, lora in loras.items()} if strength else {}
        merged = model.patched(changes, strength)
        embedding, extras = entry
        extras = {"reference_latents": [model.latent_out(ref[None])]} if reference else extras
        x = model.noised(x0[None], draws.noise.noise[k : k + 1], draws.noise.sigma[k : k + 1])
        condition = merged.condition(embedding, extras, (1, 4, 8, 8))
        return merged.denoise(x, draws.noise.sigma[k : k + 1], condition)[0]

    def error(output, target, k):
        return float(((output - target) / draws.noise.sigma[k]).square().mean())

    errors, kept = [], []
    with torch.no_grad():
        for k, (pair, share) in enumerate(zip(draws.pairs, draws.shares, strict=True)):
            x, y = a[pair], b[pair]
            if loss == "PairEdit":
                errors.append(error(denoised(x, x, k, 1.0), x + 3.0 * (y - x), k))
            elif loss == "residual":
                m = x + share * (y - x)
                for sign in (1.0, -1.0):
                    errors.append(error(denoised(m, m, k, sign), denoised(m, m, k) + sign * 1.5 * (y - x), k))
            elif loss == "SliderEdit":
                errors.append(error(denoised(x, x, k, 1.0), denoised(x, x, k, entry=EDIT), k))
                errors.append(error(denoised(x, x, k, -1.0, EDIT), denoised(x, x, k), k))
            else:
                errors += [error(denoised(y, x, k, 1.0), y, k), error(denoised(x, y, k, -1.0), x, k)]
            kept.append(error(denoised(x, x, k), x, k))
            if loss != "PairEdit":
                kept.append(error(denoised(y, y, k), y, k))
    assert value == pytest.approx(sum(errors) / len(errors), rel=2e-4)
    assert content == pytest.approx(sum(kept) / len(kept), rel=2e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_it_learns_repeats_to_the_byte_and_leaves_the_model(loss, model, pairs):
    state = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    settings = replace(SETTINGS, loss=loss)
    more = {"instruction": EDIT} if loss == "SliderEdit" else {}
    before, after = pairs
    edit = learn_pair_edit(model, before, None if more else after, KEEP, settings, **more)
    again = learn_pair_edit(model, before, after, KEEP, replace(settings, checkpointing=True), **more)
    assert edit.reference and edit.provenance["loss_after"] < edit.provenance["loss_before"]
    for name, tensor in edit.lora.items():
        assert torch.allclose(tensor, again.lora[name], rtol=1e-3, atol=1e-6), "the same with checkpointing"
    assert all(torch.equal(state[name], tensor) for name, tensor in model.network.state_dict().items())
    assert not [module for module in model.network.modules() if module._forward_hooks]


def test_photos_are_references_and_nothing_is_inverted(model, pairs):
    """Euler's way from one noise, guided by the odd part under each photo as its reference, written out."""
    edit = learn_pair_edit(model, *pairs, KEEP, replace(SETTINGS, rate=2e-2, steps=6))
    photos = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    strengths, steps = torch.tensor([0.0, 1.0, -0.5]), []

    def progress(step, total, preview=None):
        steps.append((step, total))

    edited = apply_pair_edit(model, photos, edit, strengths, KEEP, SAMPLING, progress=progress)
    assert steps[-1] == (12, 12), "three photos of four steps, and no way to noise"
    changes = {f"{name}.weight": lora.delta for name, lora in edit.loras_for(model).items()}
    ends = [model, model.patched(changes, 1.0), model.patched(changes, -1.0)]
    levels = model.sigmas_at(torch.linspace(1, 0, 4)).clamp(model.sigma_min, model.sigma_max)
    levels = torch.cat([levels, torch.zeros(1)])
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for k, strength in enumerate(strengths):
        x = model.noised(torch.zeros_like(noise), noise, levels[:1])
        extras = {"reference_latents": [photos[k : k + 1]]}
        condition = model.condition(KEEP[0], extras, (1, 4, 8, 8))
        with torch.no_grad():
            for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
                original, plus, minus = (end.denoise(x, sigma[None], condition) for end in ends)
                x = euler_step(x, original + strength * (plus - minus) / 2, sigma, sigma_next)
        assert torch.allclose(model.latent_out(x)[0], edited[k], atol=2e-4 * float(edited[k].abs().max()))
    alone = apply_pair_edit(model, photos[1:2], edit, 1.0, KEEP, SAMPLING)
    assert torch.equal(alone[0], edited[1]), "whatever shares its batch"
    together = apply_pair_edit(model, photos, edit, strengths, KEEP, replace(SAMPLING, at_once=3))
    assert torch.allclose(together, edited, atol=1e-3)
    other = apply_pair_edit(model, photos[1:2], edit, 1.0, KEEP, replace(SAMPLING, seed=1))
    assert not torch.allclose(other, alone, atol=1e-3)


def test_wrong_input_is_refused_with_a_sentence(model, tiny_denoiser, pairs):
    before, after = pairs
    edit = learn_pair_edit(model, before, after, KEEP, SETTINGS)
    slider_edit = replace(SETTINGS, loss="SliderEdit")
    referenced = (KEEP[0], {"reference_latents": [before[:1]]})
    with pytest.raises(InputError, match="takes no reference latents; turn off 'reference'"):
        learn_pair_edit(tiny_denoiser, before, after, KEEP, SETTINGS)
    with pytest.raises(InputError, match="takes no reference latents"):
        apply_pair_edit(tiny_denoiser, before, edit, 1.0, KEEP, SAMPLING)
    with pytest.raises(InputError, match="holds reference latents already"):
        learn_pair_edit(model, before, after, referenced, SETTINGS)
    with pytest.raises(InputError, match="holds reference latents already"):
        apply_pair_edit(model, before, edit, 1.0, referenced, SAMPLING)
    with pytest.raises(InputError, match="needs no inverted ones"):
        apply_pair_edit(model, before, edit, 1.0, KEEP, SAMPLING, inverted=before)
    with pytest.raises(InputError, match="SliderEdit learns from a sentence and has none"):
        learn_pair_edit(model, before, None, KEEP, slider_edit)
    with pytest.raises(InputError, match="before latents have shape"):
        learn_pair_edit(model, before[0], None, KEEP, slider_edit, instruction=EDIT)
    with pytest.raises(InputError, match="after latents have NoneType"):
        learn_pair_edit(model, before, None, KEEP, SETTINGS)
    with pytest.raises(InputError, match="seed"):
        PairSampling(seed=-1)
    assert not PairEdit(edit.lora, provenance={"settings": "anything"}).reference


class RowsOfTokens(DiffusionModel):
    """A network whose layer sees tokens, not pictures, in its rows, as experts do."""

    def condition(self, embedding, extras, shape):
        return None

    def denoise(self, x, sigma, condition):
        tokens = x.movedim(1, -1)
        return x + 0.3 * self.network(tokens.reshape(-1, 4)).tanh().reshape(tokens.shape).movedim(-1, 1)


def test_a_network_that_mixes_rows_runs_each_strength_by_itself(pairs):
    torch.manual_seed(3)
    model = RowsOfTokens(torch.nn.Sequential(torch.nn.Linear(4, 4)).requires_grad_(False), NoiseSchedule.discrete())
    with scaled_hooks({"0": model.network[0]}, init_loras({"0": model.network[0]}, 1, torch.Generator())) as slider:
        with slider.at(torch.ones(2)), pytest.raises(MixedRowsError):
            model.denoise(pairs[0], torch.ones(2), None)
    settings = replace(SETTINGS, loss="two-sided", reference=False, rate=2e-2)
    edit = learn_pair_edit(model, *pairs, KEEP, settings)
    photos = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    strengths = torch.tensor([0.0, 1.0, -0.5])
    edited = apply_pair_edit(model, photos, edit, strengths, KEEP, SAMPLING)
    for k, strength in enumerate(strengths):
        alone = apply_pair_edit(model, photos[k : k + 1], edit, strength[None], KEEP, SAMPLING)
        assert torch.equal(alone[0], edited[k])
    assert not torch.allclose(edited[1], apply_pair_edit(model, photos[1:2], edit, 0.0, KEEP, SAMPLING)[0], atol=1e-3)
