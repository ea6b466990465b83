"""Two codes in one picture: masks of 0 and 1 are exactly the one or the other, and what lies between stays between."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.models.errors import InputError
from semantic_edit.models.gan.layer_blend import KeepOutside, LayerBlend, resized_mask
from semantic_edit.models.gan.stylegan2 import StyleGAN2
from semantic_edit.models.gan.stylegan2_config import StyleGAN2Config
from semantic_edit.models.gan.synthesis_run import SynthesisOptions


@pytest.fixture(params=["skip", "resnet", "orig"])
def network(request):
    config = StyleGAN2Config(z_dim=8, w_dim=12, channels=(16, 16, 12, 8), mapping_layers=2, architecture=request.param)
    made = StyleGAN2(config, torch.Generator().manual_seed(3)).requires_grad_(False)
    rng = torch.Generator().manual_seed(4)
    for name, parameter in made.named_parameters():
        if name.endswith(("bias", "noise_strength")):
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.2)
    return made


@pytest.fixture
def codes(network):
    rng = torch.Generator().manual_seed(5)
    plain = torch.randn(3, network.config.num_layers, 12, generator=rng)
    return plain, plain + torch.randn(1, network.config.num_layers, 12, generator=rng)


def all_masks(network, value: float):
    return [torch.full((1, 1, 4, 4), value) for _ in range(network.config.num_layers)]


def test_masks_of_0_are_the_plain_picture_and_masks_of_1_the_edited_one(network, codes):
    plain, edited = codes
    for value, expected in ((0.0, plain), (1.0, edited)):
        found = network.synthesis(plain, SynthesisOptions(blend=LayerBlend(edited, all_masks(network, value)))).image
        assert torch.equal(found, network.synthesis(expected).image)


def test_the_general_path_reaches_the_ends_as_well(network, codes):
    """With a mask that is 1 in all pictures but one, no branch may be skipped, and the ends still hold."""
    plain, edited = codes
    masks = [torch.tensor([1.0, 0.0, 1.0]).reshape(3, 1, 1, 1) for _ in range(network.config.num_layers)]
    found = network.synthesis(plain, SynthesisOptions(noise=7, blend=LayerBlend(edited, masks))).image
    ends = [network.synthesis(code, SynthesisOptions(noise=7)).image for code in (plain, edited)]
    expected = torch.stack([ends[1][0], ends[0][1], ends[1][2]])
    assert torch.allclose(found, expected, atol=2e-5)


def test_an_edit_of_the_last_row_stays_inside_its_mask(network, codes):
    plain, edited = codes
    height, width = network.config.resolution
    inside = torch.zeros(1, 1, height, width)
    inside[..., : height // 2, :] = 1
    masks = [None] * (network.config.num_layers - 1) + [inside]
    change = (
        network.synthesis(plain, SynthesisOptions(blend=LayerBlend(edited, masks))).image
        - network.synthesis(plain).image
    )
    assert change[..., : height // 2, :].abs().max() > 0
    assert torch.equal(change[..., height // 2 :, :], torch.zeros_like(change[..., height // 2 :, :]))


def test_layers_before_the_first_edited_row_are_computed_once(network, codes):
    plain, edited = codes
    seen = []
    first = network.config.num_layers - 3
    masks = [None] * first + [torch.full((1, 1, 2, 2), 0.5)] * 3
    for layer, (block, name) in enumerate(network.synthesis.layers):
        conv = getattr(network.synthesis.block(block), name)
        conv.register_forward_hook(lambda module, inputs, output, layer=layer: seen.append((layer, len(output))))
    network.synthesis(plain, SynthesisOptions(blend=LayerBlend(edited, masks)))
    assert dict(seen) == {k: 3 if k < first else 6 for k in range(len(network.synthesis.layers))}


def test_gradients_reach_masks_and_codes(network, codes):
    plain, edited = codes
    edited = edited.clone().requires_grad_()
    masks = [torch.zeros(1, 1, 4, 4, requires_grad=True) for _ in range(network.config.num_layers)]
    network.synthesis(plain, SynthesisOptions(blend=LayerBlend(edited, masks))).image.square().mean().backward()
    assert all(mask.grad is not None and mask.grad.abs().sum() > 0 for mask in masks)
    assert edited.grad is not None


def test_masks_keep_their_mean_when_they_get_smaller():
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 3:9, 2:13] = 1
    assert resized_mask(mask, (4, 4)).mean() == pytest.approx(float(mask.mean()), abs=0.02)


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ([None], "1 masks for"),
        ([torch.ones(2, 1, 4, 4)] * 8, "mask of row 0"),
        ([torch.ones(1, 3, 4, 4)] * 8, "mask of row 0"),
    ],
)
def test_what_does_not_fit_is_refused(codes, masks, said):
    with pytest.raises(InputError, match=said):
        LayerBlend(codes[1], masks)


def test_codes_of_another_batch_are_refused(network, codes):
    plain, edited = codes
    with pytest.raises(InputError, match="do not match"):
        network.synthesis(plain[:2], SynthesisOptions(blend=LayerBlend(edited, all_masks(network, 0.5))))


def test_where_no_mask_reaches_the_picture_stays(tiny_generator):
    codes = tiny_generator.map(torch.randn(2, 16, generator=torch.Generator().manual_seed(5)))
    edited = codes + torch.randn(codes.shape, generator=torch.Generator().manual_seed(6))
    left = torch.zeros(1, 1, 32, 32)
    left[..., :8] = 1
    synthesis = tiny_generator.network.synthesis
    plain = synthesis(codes, SynthesisOptions(want_features=range(len(synthesis.layers))))
    masks = [left] * tiny_generator.num_layers
    leaking = synthesis(codes, SynthesisOptions(blend=LayerBlend(edited, masks))).image
    kept = synthesis(
        codes, SynthesisOptions(blend=LayerBlend(edited, masks), hook=KeepOutside(masks, plain.features))
    ).image
    change = (kept - plain.image).abs().amax(dim=(0, 1, 2))
    assert change[:6].min() > 1e-2
    # Coarse layers count as inside by their whole places, and their colours spread a little when they are enlarged.
    assert change[24:].max() < 1e-5 and (leaking - plain.image).abs().amax(dim=(0, 1, 2))[24:].max() > 0.05
    everywhere = [torch.ones(1, 1, 1, 1)] * tiny_generator.num_layers
    hook = KeepOutside(everywhere, plain.features)
    whole = synthesis(codes, SynthesisOptions(blend=LayerBlend(edited, everywhere), hook=hook)).image
    assert torch.allclose(whole, synthesis(edited).image, atol=2e-5)


@pytest.mark.parametrize("height", [None, "of each layer"])
def test_how_strong_a_mask_is_changes_nothing_of_where_it_reaches(tiny_generator, height):
    """A mask of one half shows what the published blend shows: its value counts once, in the layer."""
    codes = tiny_generator.map(torch.randn(2, 16, generator=torch.Generator().manual_seed(5)))
    edited = codes + torch.randn(codes.shape, generator=torch.Generator().manual_seed(6))
    synthesis, rows = tiny_generator.network.synthesis, tiny_generator.num_layers
    plain = synthesis(codes, SynthesisOptions(want_features=range(len(synthesis.layers))))
    ys, xs = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(32) - 15.5, indexing="ij")
    disk = ((xs**2 + ys**2) < 8**2).float()[None, None]
    far = (xs**2 + ys**2) > 14**2

    def draw(mask, keeps):
        sizes = [synthesis.layer_size(min(row, len(synthesis.layers) - 1))[1:] for row in range(rows)]
        masks = [mask if height is None else resized_mask(mask, size) for size in sizes]
        hook = KeepOutside(masks, plain.features) if keeps else None
        return synthesis(codes, SynthesisOptions(blend=LayerBlend(edited, masks), hook=hook)).image - plain.image

    uniform = torch.full((1, 1, 32, 32), 0.5)
    assert torch.allclose(draw(uniform, True), draw(uniform, False), atol=2e-5)
    for strength in (0.8, 0.3):
        kept, free = (draw(strength * disk, keeps).abs().mean(dim=(0, 1)) for keeps in (True, False))
        assert kept[disk[0, 0] > 0].mean() > 0.9 * free[disk[0, 0] > 0].mean()
        assert kept[far].mean() < 0.6 * free[far].mean()


def test_a_layer_stays_where_only_later_rows_act(tiny_generator):
    """What a later row changes has no trace in an earlier layer, so nothing may change there but by leaking."""
    codes = tiny_generator.map(torch.randn(2, 16, generator=torch.Generator().manual_seed(5)))
    synthesis, rows = tiny_generator.network.synthesis, tiny_generator.num_layers
    layers = range(len(synthesis.layers))
    plain = synthesis(codes, SynthesisOptions(want_features=layers))
    left = torch.zeros(1, 1, 32, 32)
    left[..., :16] = 1
    masks = [left if row < 5 else 1 - left for row in range(rows)]
    hook = KeepOutside(masks, plain.features)
    other = {layer: features + 1 for layer, features in plain.features.items()}
    for layer in layers:
        change = (hook(layer, other[layer]) - plain.features[layer]).amax(dim=(0, 1))
        right = change[:, change.shape[1] // 2 + 1 :] if change.shape[1] > 4 else change[:, -1:]
        assert change[:, 0].min() == 1 and (right.max() == 0 if layer < 5 else right.min() == 1), layer
