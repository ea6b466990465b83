"""Components of W and of the style weights, against their definitions."""

import pytest
import torch
from semantic_edit.editing import attribute_values, plan_strength
from semantic_edit.editing.one_for_all.discover import METHODS, component_edit, components_sheet, find_components
from semantic_edit.editing.photos.adaptation import adapt
from semantic_edit.models import InputError


def test_principal_components_are_those_of_sampled_codes(tiny_generator):
    components = find_components(tiny_generator, METHODS[0])
    w = tiny_generator.map(torch.randn(6000, 16, generator=torch.Generator().manual_seed(5)))[:, 0].double()
    variances = ((w - w.mean(dim=0)) @ components.vectors.t()).var(dim=0)
    assert torch.all(components.deviations[:-1] >= components.deviations[1:] - 1e-9)
    torch.testing.assert_close(variances.sqrt(), components.deviations, rtol=0.06, atol=1e-4)
    torch.testing.assert_close(
        components.vectors @ components.vectors.t(), torch.eye(16, dtype=torch.float64), atol=1e-6, rtol=0
    )
    assert float(components.shares.sum()) == pytest.approx(1)


@pytest.mark.parametrize("rows", [None, (0,), (2, 7)])
def test_style_weights_are_those_that_styles_react_to_most(tiny_generator, rows):
    components = find_components(tiny_generator, METHODS[1], rows)
    synthesis = tiny_generator.network.synthesis
    affines = []
    for row in rows or range(tiny_generator.num_layers):
        if row < len(synthesis.layers):
            block, name = synthesis.layers[row]
            layer = getattr(getattr(synthesis, synthesis.block_names[block]), name)
        else:
            layer = getattr(synthesis, synthesis.block_names[-1]).torgb
        affines.append(layer.affine.weight.double() / layer.affine.weight.double().norm(dim=1, keepdim=True))
    reaction = (torch.cat(affines) @ components.vectors.t()).square().sum(dim=0)
    assert torch.all(reaction[:-1] >= reaction[1:] - 1e-9)
    torch.testing.assert_close(reaction / reaction.sum(), components.shares, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [None, (1, 2)])
def test_a_component_counts_deviations_from_the_mean(tiny_generator, method, rows):
    components = find_components(tiny_generator, method, rows)
    edit = component_edit(tiny_generator, components, 2, rows)
    mean = tiny_generator.w_mean.expand(1, tiny_generator.num_layers, -1)
    values = attribute_values(edit, torch.cat([mean, mean + 2 * edit.direction]))
    assert (values - edit.start).tolist() == pytest.approx([0, 2], abs=1e-3)
    assert plan_strength(edit, mean, 1.5).alpha.tolist() == pytest.approx([1.5], abs=1e-3)
    w = tiny_generator.map(torch.randn(4000, 16, generator=torch.Generator().manual_seed(6)))
    assert float(attribute_values(edit, w).std()) == pytest.approx(1, rel=0.06)
    assert edit.name == "component 2" and edit.family == tiny_generator.family


def test_the_same_generator_gives_the_same_components(tiny_generator):
    for method in METHODS:
        a, b = (find_components(tiny_generator, method) for _ in range(2))
        assert torch.equal(a.vectors, b.vectors)
        assert bool((a.vectors.gather(1, a.vectors.abs().argmax(dim=1, keepdim=True)) > 0).all())


def test_the_sheet_has_a_row_per_component(tiny_generator):
    components, steps = find_components(tiny_generator, METHODS[0]), []
    sheet = components_sheet(tiny_generator, components, 3, progress=lambda *report: steps.append(report[:2]))
    assert sheet.shape[0] == 3 * 36 + 4 and sheet.shape[2] == 3 and steps == [(1, 3), (2, 3), (3, 3)]
    other = components_sheet(tiny_generator, components, 3, rows=(0,), code=tiny_generator.w_mean.expand(8, -1) + 0.5)
    assert other.shape == sheet.shape and not torch.equal(other, sheet)


def test_a_progressive_gan_has_style_weights_alone(tiny_progan):
    components = find_components(tiny_progan, METHODS[1])
    weight = tiny_progan.network.synthesis.layer1.weight.double().permute(0, 2, 3, 1).reshape(-1, 16)
    reaction = ((weight / weight.norm(dim=1, keepdim=True)) @ components.vectors.t()).square().sum(dim=0)
    assert torch.all(reaction[:-1] >= reaction[1:] - 1e-9)
    assert components_sheet(tiny_progan, components, 2).shape[0] == 2 * 36 + 4
    with pytest.raises(InputError, match="noise that varies alike"):
        find_components(tiny_progan, METHODS[0])


def test_wrong_choices(tiny_generator):
    with pytest.raises(InputError, match="Unknown method 'ica'"):
        find_components(tiny_generator, "ica")
    components = find_components(tiny_generator, METHODS[0])
    with pytest.raises(InputError, match="components 0 to 15; got 16"):
        component_edit(tiny_generator, components, 16)
    with pytest.raises(InputError, match="rows 0 to 7"):
        component_edit(tiny_generator, components, 0, (8,))


def test_a_progressive_gan_stays_one_when_it_is_adapted(tiny_progan):
    photos = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    code = tiny_progan.map(torch.randn(1, 16, generator=torch.Generator().manual_seed(1)))
    adapted = adapt(tiny_progan, photos, code, "free", steps=1, layers=(0, 1)).generator
    components, expected = find_components(adapted, METHODS[1]), find_components(tiny_progan, METHODS[1])
    assert torch.equal(components.vectors, expected.vectors)
    assert torch.equal(adapted.w_mean, tiny_progan.w_mean) and torch.equal(adapted.w_covariance, torch.eye(16))
    with pytest.raises(InputError, match="noise that varies alike"):
        find_components(adapted, METHODS[0])
