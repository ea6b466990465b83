"""Imagic's stages on a small random network: they learn, repeat to the byte, and leave the model as it was."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from semantic_edit.editing.common.diffusion.autograd.checkpointing import _blocks, checkpointed
from semantic_edit.editing.common.diffusion.autograd.memory import graph_bytes, weight_storages
from semantic_edit.editing.common.diffusion.lora import (
    BLOCKS,
    check_unquantised,
    in_blocks,
    init_loras,
    lora_hooks,
    select_layers,
)
from semantic_edit.editing.common.diffusion.lora_file import without_blocks
from semantic_edit.editing.imagic.conditioning import Conditioning, single_conditioning
from semantic_edit.editing.imagic.embedding import EmbeddingSettings, optimize_embedding
from semantic_edit.editing.imagic.figures import loss_plot
from semantic_edit.editing.imagic.fixed_noise_loss import FixedNoiseLoss, Plateau
from semantic_edit.editing.imagic.loss import TargetLatent, denoising_loss
from semantic_edit.editing.imagic.tuning import METHODS, TuneSettings, tune_model
from semantic_edit.models.diffusion.lora import with_lora
from semantic_edit.models.diffusion.model import DiffusionModel
from semantic_edit.models.errors import InputError

EMBEDDING = EmbeddingSettings(steps=4, rate=0.05, draws=4)
TUNING = TuneSettings(steps=4, rate=1e-2, rank=4, draws=4)


@pytest.fixture
def entry():
    return Conditioning(torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(2)), {"strength": 0.5})


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def same(before, model):
    after = model.network.state_dict()
    return list(before) == list(after) and all(torch.equal(before[name], after[name]) for name in before)


def test_the_embedding_learns_the_photo_and_repeats_to_the_byte(tiny_denoiser, latent, entry):
    before, embedding = state_of(tiny_denoiser), entry.embedding.clone()
    with torch.inference_mode():
        fit = optimize_embedding(tiny_denoiser, latent, entry, EMBEDDING)
        again = optimize_embedding(tiny_denoiser, latent.clone(), entry, EMBEDDING)
    assert fit.loss_after < fit.loss_before and fit.moved > 0.05 and fit.gain > 0
    assert torch.equal(fit.conditioning.embedding, again.conditioning.embedding) and fit.losses == again.losses
    assert fit.conditioning.extras == {"strength": 0.5}
    assert torch.equal(entry.embedding, embedding) and same(before, tiny_denoiser)
    other = optimize_embedding(tiny_denoiser, latent, entry, replace(EMBEDDING, seed=1))
    assert not torch.equal(fit.conditioning.embedding, other.conditioning.embedding)


def test_too_small_a_rate_is_told(tiny_denoiser, latent, entry):
    fit = optimize_embedding(tiny_denoiser, latent, entry, replace(EMBEDDING, rate=1e-4))
    assert "That is little" in fit.report() and "Raise the rate" in fit.report()


def test_a_start_is_where_it_starts(tiny_denoiser, latent, entry):
    start = Conditioning(entry.embedding + 3, {"other": 1})
    fit = optimize_embedding(tiny_denoiser, latent, entry, EMBEDDING, start)
    assert float((fit.conditioning.embedding - start.embedding).abs().max()) < 1.5
    assert fit.conditioning.extras == {"strength": 0.5}, "the target's keys, not the caption's"


@pytest.mark.parametrize("method", METHODS)
def test_what_was_learned_is_what_the_merged_model_does(method, tiny_denoiser, latent, entry):
    before = state_of(tiny_denoiser)
    with torch.inference_mode():
        tuning = tune_model(
            tiny_denoiser, latent, entry, replace(TUNING, method=method, rate=2e-3 if method != METHODS[0] else 1e-2)
        )
        merged = with_lora(tiny_denoiser, tuning.lora)
    assert same(before, tiny_denoiser) and tuning.gain > 0.02
    fixed_noise_loss = FixedNoiseLoss(merged, TargetLatent.from_vae(merged, latent), (0.0, 1.0), 0)
    assert fixed_noise_loss(entry.trainable_copy(merged.device)) == pytest.approx(tuning.loss_after, rel=1e-4)
    half = with_lora(tiny_denoiser, tuning.lora, 0.0)
    assert all(
        torch.equal(a, b) for a, b in zip(half.network.parameters(), tiny_denoiser.network.parameters(), strict=True)
    )


def test_learning_stops_where_nothing_more_comes(tiny_denoiser, latent, entry):
    settings = replace(TUNING, steps=24, rate=1e-9)
    stuck = tune_model(tiny_denoiser, latent, entry, settings, stop_early=True)
    assert len(stuck.losses) == 4, "a check each second step, and two without gain"
    assert "after 4 of 24 steps: the photo will not come back" in stuck.report()
    falling = tune_model(tiny_denoiser, latent, entry, replace(TUNING, steps=6), stop_early=True)
    assert len(falling.losses) == 6 and "stopped" not in falling.report(), "each step gains"


def test_a_plateau_is_two_checks_without_gain():
    plateau, losses = Plateau(1.0, 12), iter([0.8, 0.795, 0.6, 0.598, 0.597])
    assert [plateau.reached(step, lambda: next(losses)) for step in range(1, 6)] == [False] * 4 + [True]
    assert not Plateau(1.0, 24).reached(1, lambda: pytest.fail("no check is due"))


def test_the_preview_shows_the_photo_beside_what_the_model_sees(tiny_denoiser, latent, entry):
    pictures = []
    tune_model(
        tiny_denoiser, latent, entry, TUNING, progress=lambda step, total, preview=None: pictures.append(preview)
    )
    photo = tiny_denoiser.preview(tiny_denoiser.latent_in(latent))
    assert all(picture.shape == (3, 8, 16) and torch.equal(picture[..., :8], photo) for picture in pictures)
    assert not torch.equal(pictures[0][..., 8:], pictures[-1][..., 8:])


def test_joint_tuning_moves_both(tiny_denoiser, latent, entry):
    tuning = tune_model(tiny_denoiser, latent, entry, replace(TUNING, joint=True, embedding_rate=0.05))
    assert float((tuning.conditioning.embedding - entry.embedding).norm()) > 0.1
    fixed = tune_model(tiny_denoiser, latent, entry, TUNING)
    assert torch.equal(fixed.conditioning.embedding, entry.embedding)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [1, 3])
def test_stopping_leaves_the_model_as_it_was(method, stop, tiny_denoiser, latent, entry):
    class StopError(Exception):
        pass

    def progress(step, total, preview=None):
        if step == stop:
            raise StopError

    before = state_of(tiny_denoiser)
    with pytest.raises(StopError), torch.inference_mode():
        tune_model(tiny_denoiser, latent, entry, replace(TUNING, method=method, checkpointing=True), progress=progress)
    assert same(before, tiny_denoiser)
    hooks = [
        m
        for m in tiny_denoiser.network.modules()
        if m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__
    ]
    assert not hooks


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_changes_nothing(method, tiny_denoiser, latent, entry):
    settings = replace(TUNING, method=method, rate=1e-3, steps=2)
    plain = tune_model(tiny_denoiser, latent, entry, settings)
    again = tune_model(tiny_denoiser, latent, entry, replace(settings, checkpointing=True))
    for name, tensor in plain.lora.items():
        assert torch.allclose(tensor, again.lora[name], atol=2e-4), name
    assert again.losses == pytest.approx(plain.losses, rel=1e-4)


def test_little_memory_splits_a_step_and_too_little_is_refused(tiny_denoiser, latent, entry):
    plain = tune_model(tiny_denoiser, latent, entry, replace(TUNING, steps=2))
    assert plain.at_once == 4
    trained = sum(t.numel() for name, t in plain.lora.items() if not name.endswith(".alpha"))
    free = next(  # the least memory in which a draw fits
        size for size in range(trained * 16, 2**26, 2**17) if fits(tiny_denoiser, latent, entry, size)
    )
    split = tune_model(tiny_denoiser, latent, entry, replace(TUNING, steps=2), free=free)
    assert split.at_once == 1 and "Memory allowed 1 of 4 draws" in split.report()
    assert split.losses == pytest.approx(plain.losses, rel=1e-4)
    with pytest.raises(InputError, match=r"needs about .* MB .* and 1 MB are free.*checkpointing"):
        tune_model(tiny_denoiser, latent, entry, TUNING, free=2**20)


def fits(model, latent, entry, free):
    class TriedError(Exception):
        pass

    def progress(step, total, preview=None):
        raise TriedError

    try:
        tune_model(model, latent, entry, replace(TUNING, draws=1, steps=1), free=free, progress=progress)
    except InputError:
        return False
    except TriedError:
        return True


def test_whole_weights_are_refused_before_they_are_copied(tiny_denoiser, latent, entry, monkeypatch):
    monkeypatch.setattr("semantic_edit.editing.imagic.weight_change.FullWeights", None)  # what would copy them
    with pytest.raises(InputError, match="all weights needs about"):
        tune_model(tiny_denoiser, latent, entry, replace(TUNING, method=METHODS[1]), free=2**20)


def test_the_estimate_knows_what_checkpointing_saves_and_costs(tiny_denoiser, latent, entry):
    """The largest block's own graph is there while it is computed again; the rest is not."""
    target = TargetLatent.from_vae(tiny_denoiser, latent)
    noise = target.draw_noise(tiny_denoiser, 1, (0.4, 0.6), torch.Generator().manual_seed(0))
    trained, weights = entry.trainable_copy(tiny_denoiser.device), weight_storages(tiny_denoiser.network)
    trained.embedding.requires_grad_(True)

    def loss():
        return denoising_loss(tiny_denoiser, target, noise, trained)

    full = graph_bytes(loss, weights)
    with checkpointed(tiny_denoiser.network) as blocks:
        inputs, with_block = graph_bytes(loss, weights), graph_bytes(loss, weights, blocks)
        assert blocks.measure is None
    assert inputs < with_block < full
    assert len(list(_blocks(tiny_denoiser.network))) > 6, "small blocks, not full levels of the network"


def test_names_of_both_spellings_lie_in_the_same_blocks():
    pairs = [
        (
            "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k",
            "input_blocks.2.1.transformer_blocks.0.attn2.to_k",
        ),
        ("up_blocks.1.attentions.0.transformer_blocks.0.ff.net.2", "output_blocks.3.1.transformer_blocks.0.ff.net.2"),
        ("mid_block.attentions.0.proj_in", "middle_block.1.proj_in"),
        ("down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2"),
    ]
    for theirs, ours in pairs:
        blocks = [in_blocks(theirs, block) for block in BLOCKS]
        assert blocks == [in_blocks(ours, block) for block in BLOCKS], theirs
        assert blocks == [in_blocks("lora_unet_" + theirs.replace(".", "_"), block) for block in BLOCKS], theirs
    assert not in_blocks(pairs[1][0], "attention") and in_blocks(pairs[0][0], "cross attention")


def test_the_last_seed_and_a_start_of_another_length(tiny_denoiser, latent, entry):
    optimize_embedding(tiny_denoiser, latent, entry, replace(EMBEDDING, steps=1, seed=2**64 - 1))
    start = Conditioning(torch.randn(1, 9, 32), {"attention_mask": torch.tensor([[1] * 8 + [0]])})
    fit = optimize_embedding(tiny_denoiser, latent, entry, EMBEDDING, start)
    assert fit.conditioning.embedding.shape == (1, 9, 32), "as many tokens as it started from, under their own mask"
    assert fit.conditioning.extras["attention_mask"].sum() == 8 and fit.conditioning.extras["strength"] == 0.5
    assert torch.equal(fit.conditioning.embedding[:, 8], start.embedding[:, 8]), "what is hidden learns nothing"


def test_a_loss_that_overflows_is_drawn_all_the_same():
    assert loss_plot([1.0, float("nan"), float("inf"), 0.5], 1.0, 0.5, "loss").shape[-1] == 3


def test_a_prior_holds_the_answer_to_other_sentences(tiny_denoiser, latent, entry):
    prior = Conditioning(torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(9)), {})
    settings = replace(TUNING, steps=12)
    free = tune_model(tiny_denoiser, latent, entry, settings)
    held = tune_model(tiny_denoiser, latent, entry, replace(settings, prior_weight=5.0), prior)

    def drift(tuning):
        model = with_lora(tiny_denoiser, tuning.lora)
        x, sigma = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(3)), torch.full((4,), 2.0)
        with torch.no_grad():
            a, b = (m.denoise(x * 2, sigma, m.condition(prior.embedding, {}, x.shape)) for m in (model, tiny_denoiser))
        return float((a - b).square().mean())

    assert drift(held) < 0.7 * drift(free)


def test_half_precision_learns_too(tiny_denoiser, latent, entry):
    half = DiffusionModel(copy.deepcopy(tiny_denoiser.network).to(torch.bfloat16), tiny_denoiser.schedule)
    fit = optimize_embedding(half, latent, entry, EMBEDDING)
    tuning = tune_model(half, latent, fit.conditioning, TUNING)
    assert fit.conditioning.embedding.dtype == torch.float32 and tuning.gain > 0.02


def test_float16_scales_its_loss(latent, entry, tiny_denoiser):
    from semantic_edit.editing.common.diffusion.scaled_adam import ScaledAdam

    weight = torch.tensor([1.0], requires_grad=True)
    optimizer = ScaledAdam([([weight], 0.1)], half=True)
    optimizer.step([(weight.half() * 2e-3).float().sum() * 5e-6])  # a gradient of 1e-8, which float16 rounds to zero
    moved = float(weight.detach())
    assert moved < 0.97
    first = optimizer.scale
    optimizer.step([weight.sum() * float("inf")])
    assert optimizer.scale < first and float(weight.detach()) == moved, "an overflow takes no step"
    with pytest.raises(InputError, match="not finite"):
        ScaledAdam([([weight], 0.1)]).step([weight.sum() * float("nan")])


def test_hooks_add_exactly_what_is_merged(tiny_denoiser):
    layers = select_layers(tiny_denoiser.network, ["attention", "decoder"])
    loras = init_loras(layers, 3, torch.Generator().manual_seed(0))
    x, text = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 32)
    with torch.no_grad():
        plain = tiny_denoiser.network(x, 10, text).sample
        with lora_hooks(layers, loras) as switch:
            assert torch.equal(tiny_denoiser.network(x, 10, text).sample, plain), "zero at first"
            for lora in loras.values():
                lora.up.normal_(std=0.05)
            changed = tiny_denoiser.network(x, 10, text).sample
            with switch.off():
                assert torch.equal(tiny_denoiser.network(x, 10, text).sample, plain)
        deltas = {f"{name}.weight": lora.delta for name, lora in loras.items()}
        merged = tiny_denoiser.patched(deltas).network(x, 10, text).sample
        assert torch.equal(tiny_denoiser.network(x, 10, text).sample, plain)
    assert float((changed - plain).abs().max()) > 1e-2
    assert torch.allclose(changed, merged, atol=1e-4)


def test_forgetting_takes_out_the_named_blocks(tiny_denoiser, latent, entry):
    lora = tune_model(tiny_denoiser, latent, entry, replace(TUNING, steps=1)).lora
    remaining = without_blocks(lora, ["encoder"])
    assert (
        remaining
        and not any("down_blocks" in name for name in remaining)
        and any("up_blocks" in name for name in remaining)
    )
    assert not any("attn2" in name for name in without_blocks(lora, ["cross attention"]))
    with pytest.raises(InputError, match="Unknown blocks"):
        without_blocks(lora, ["head"])


class EightBits(torch.nn.Module):
    """A host's quantised linear layer: none of torch's, its weight of eight bits in another shape."""

    def __init__(self, width, height):
        super().__init__()
        self.in_features, self.out_features = width, height
        weight = torch.randn(height, width, generator=torch.Generator().manual_seed(8)) / width**0.5
        self.weight = torch.nn.Parameter(weight.to(torch.float8_e4m3fn).view(torch.uint8).flatten(), False)

    def forward(self, x):
        return x @ self.weight.view(torch.float8_e4m3fn).view(self.out_features, self.in_features).to(x.dtype).T


def test_quantised_layers_learn_through_their_outputs_and_keep_every_bit():
    network = torch.nn.Sequential(EightBits(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4))
    layers = select_layers(network, ["all"])
    assert list(layers) == ["0", "2"]
    loras = init_loras(layers, 3, torch.Generator().manual_seed(0))
    bits, x = network[0].weight.clone(), torch.randn(7, 6)
    before = network(x).detach()
    with lora_hooks(layers, loras):
        network(x).square().sum().backward()
        assert loras["0"].up.shape == (5, 3) and float(loras["0"].up.grad.abs().max()) > 0
        with torch.no_grad():
            loras["0"].up.sub_(loras["0"].up.grad * 0.01)
        assert float(network(x).detach().square().sum()) < float(before.square().sum())
    assert torch.equal(network[0].weight, bits) and torch.equal(network(x), before)
    with pytest.raises(InputError, match="'0' is stored as uint8.*use the method LoRA"):
        check_unquantised(layers)


def test_patched_models_share_what_did_not_change(tiny_denoiser):
    name, weight = next((n, p) for n, p in tiny_denoiser.network.named_parameters() if n.endswith("conv_in.weight"))
    other = tiny_denoiser.patched({name: torch.ones_like(weight)})
    pairs = zip(tiny_denoiser.network.parameters(), other.network.parameters(), strict=True)
    assert sum(a is not b for a, b in pairs) == 1 and other.changes == (name,)
    with pytest.raises(InputError, match="made for another model"):
        tiny_denoiser.patched({name: torch.ones(3)})
    with pytest.raises(InputError, match="belong to no layer"):
        with_lora(tiny_denoiser, {"lora_unet_nowhere.lora_up.weight": torch.ones(2, 2)})


def test_a_model_without_gradient_is_refused(tiny_denoiser, latent, entry):
    class Deaf(DiffusionModel):
        def denoise(self, x, sigma, condition):
            return super().denoise(x, sigma, condition).detach()

    with pytest.raises(InputError, match=r"gives no gradient.*attention"):
        optimize_embedding(Deaf(tiny_denoiser.network, tiny_denoiser.schedule), latent, entry, EMBEDDING)


@pytest.mark.parametrize(
    ("message", "expected", "advice"),
    [
        ("derivative for aten::foo is not implemented", "gives no gradient: derivative", "unquantised"),
        ("\"addmm_impl\" not implemented for 'Float8_e4m3fn'", "gives no gradient", "unquantised"),
        ("mat1 and mat2 shapes cannot be multiplied (77x32 and 40x8)", "fails on this photo and this text", "VAE"),
        ("Expected all tensors to be on the same device", "fails on this photo and this text", "VAE"),
    ],
)
def test_only_what_is_about_gradients_is_called_quantised(message, expected, advice, tiny_denoiser, latent, entry):
    class Failing(DiffusionModel):
        def denoise(self, x, sigma, condition):
            raise RuntimeError(message)

    with pytest.raises(InputError, match=expected) as refused:
        optimize_embedding(Failing(tiny_denoiser.network, tiny_denoiser.schedule), latent, entry, EMBEDDING)
    assert advice in str(refused.value) and ("unquantised" in str(refused.value)) == (advice == "unquantised")


def test_the_tokens_of_a_further_encoder_learn_as_well(tiny_denoiser, latent, entry):
    class TwoEncoders(DiffusionModel):
        def condition(self, embedding, extras, shape):
            return super().condition(torch.cat([embedding, extras["conditioning_llama3"][:, 0]], dim=1), extras, shape)

    model = TwoEncoders(tiny_denoiser.network, tiny_denoiser.schedule)
    two = Conditioning(entry.embedding, {"conditioning_llama3": torch.randn(1, 2, 3, 32)})
    fit = optimize_embedding(model, latent, two, EMBEDDING)
    learned, first = fit.conditioning.extras["conditioning_llama3"], two.extras["conditioning_llama3"]
    assert not torch.equal(learned[:, 0], first[:, 0]) and torch.equal(learned[:, 1], first[:, 1])
    joint = tune_model(model, latent, two, replace(TUNING, joint=True, embedding_rate=0.05)).conditioning
    assert not torch.equal(joint.extras["conditioning_llama3"][:, 0], first[:, 0])


def test_wrong_conditionings_are_refused(tiny_denoiser, latent, entry):
    good = [[entry.embedding, {}]]
    with pytest.raises(InputError, match="2 entries"):
        single_conditioning([*good, *good])
    with pytest.raises(InputError, match="is empty"):
        single_conditioning([])
    with pytest.raises(InputError, match=r"\[2, 7, 32\]"):
        single_conditioning([[entry.embedding.repeat(2, 1, 1), {}]])
    with pytest.raises(InputError, match="not finite"):
        single_conditioning([[entry.embedding * float("nan"), {}]])
    with pytest.raises(InputError, match="40 wide.*takes 32"):
        optimize_embedding(tiny_denoiser, latent, Conditioning(torch.randn(1, 7, 40), {}), EMBEDDING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 0}, "rank"),
        ({"steps": 0}, "steps, draws"),
        ({"levels": (0.6, 0.2)}, "0.6 to 0.2"),
        ({"method": "LoKr"}, "LoKr"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(TUNING, **change)


def test_unknown_or_empty_blocks_are_refused(tiny_denoiser, latent, entry):
    with pytest.raises(InputError, match="expected some of"):
        tune_model(tiny_denoiser, latent, entry, replace(TUNING, blocks=("nose",)))
    with pytest.raises(InputError, match="No layer"):
        select_layers(torch.nn.Sequential(torch.nn.Linear(2, 2)), ["encoder"])
    quantised = torch.nn.Sequential(torch.nn.Linear(2, 2).to(torch.float8_e4m3fn))
    with pytest.raises(InputError, match="float8_e4m3fn.*unquantised"):
        check_unquantised(select_layers(quantised, ["all"]))
