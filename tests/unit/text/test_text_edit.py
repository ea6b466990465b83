"""Text edits: where they act, how they are refined, kept and applied, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.common.types import EditDirection
from semantic_edit.editing.text.apply import apply_text_edit, row_masks_in_chunks
from semantic_edit.editing.text.edit import TextEdit
from semantic_edit.editing.text.feature_parts import parts_from_features, parts_from_masks
from semantic_edit.editing.text.figures import loss_chart, part_colours, region_layer_chart, row_mask_sheet
from semantic_edit.editing.text.localize import importance, localize_direction
from semantic_edit.editing.text.masks import cut_faint, reach_masks, row_masks
from semantic_edit.editing.text.refine import refine
from semantic_edit.editing.text.settings import TextEditSettings
from semantic_edit.editing.text.trainable_edit import TrainableEdit
from semantic_edit.models.checkpoint import read_safetensors, write_safetensors
from semantic_edit.models.errors import CheckpointError, InputError
from semantic_edit.models.files.text_edit import read_text_edit, write_text_edit
from semantic_edit.models.gan.adaptation import Adaptation, with_adaptation
from semantic_edit.models.gan.synthesis_run import SynthesisOptions
from semantic_edit.models.gan.text_edit_networks import LatentMapper, LayerAttention


@pytest.fixture
def codes(tiny_generator):
    return tiny_generator.map(torch.randn(3, tiny_generator.z_dim, generator=torch.Generator().manual_seed(2)))


@pytest.fixture
def halves(tiny_generator):
    """Two parts: the upper and the lower half of every picture."""
    height, width = tiny_generator.resolution
    upper = torch.zeros(1, height, width)
    upper[:, : height // 2] = 1
    return PartLabels(torch.stack([upper, 1 - upper], dim=1), ("upper", "lower"))


@pytest.fixture
def edit(tiny_generator, codes):
    rows = tiny_generator.num_layers
    offset = torch.randn(rows, tiny_generator.w_dim, generator=torch.Generator().manual_seed(3))
    selection = torch.zeros(2, rows)
    selection[0] = 1
    return TextEdit("a hat", offset, selection=selection, parts=("upper", "lower"), family=tiny_generator.family)


def test_an_edit_of_everything_is_the_plain_edit(tiny_generator, codes, halves, edit):
    everywhere = edit.refined(selection=torch.ones(2, tiny_generator.num_layers))
    done = apply_text_edit(tiny_generator, codes, everywhere, halves, alpha=0.7)
    assert torch.allclose(done.images, tiny_generator.synthesize(codes + 0.7 * edit.offset), atol=2e-5)
    assert bool((done.masks == 1).all())


def test_strength_0_is_the_plain_picture_and_strengths_are_each_picture_s_own(tiny_generator, codes, halves, edit):
    plain = tiny_generator.synthesize(codes)
    none = apply_text_edit(tiny_generator, codes, edit, halves, alpha=0.0)
    assert torch.allclose(none.images, plain, atol=2e-5)
    own = apply_text_edit(tiny_generator, codes, edit, halves, alpha=torch.tensor([0.0, 1.0, -1.0]))
    full = apply_text_edit(tiny_generator, codes, edit, halves, alpha=1.0)
    assert torch.allclose(own.images[0], plain[0], atol=2e-5)
    assert torch.allclose(own.images[1], full.images[1], atol=2e-5)
    assert not torch.allclose(own.images[2], full.images[2], atol=1e-3)


def test_parts_that_are_half_selected_show_half_of_the_edit(tiny_generator, codes, halves, edit):
    """Kept outside or not: of a part only where it is counts there, how much of it was blended already."""
    plain = tiny_generator.synthesize(codes)
    half = edit.refined(selection=torch.full((2, tiny_generator.num_layers), 0.5))
    free, kept = (
        apply_text_edit(tiny_generator, codes, half.refined(keeps_outside=keeps), halves).images - plain
        for keeps in (False, True)
    )
    assert torch.allclose(free, kept, atol=2e-5)


def test_where_no_part_is_selected_the_picture_stays(tiny_generator, codes, halves, edit):
    plain = tiny_generator.synthesize(codes)
    upper = edit.refined(selection=0.7 * edit.selection)
    free, kept = (
        apply_text_edit(tiny_generator, codes, upper.refined(keeps_outside=keeps), halves).images - plain
        for keeps in (False, True)
    )
    bottom, top = slice(3 * plain.shape[2] // 4, None), slice(None, plain.shape[2] // 4)
    # Coarse layers count as inside by their whole places, and their colours spread a little when they are enlarged.
    assert kept[:, :, bottom].abs().mean() < 0.3 * free[:, :, bottom].abs().mean()
    assert torch.allclose(kept[:, :, top], free[:, :, top], atol=0.05)
    drawn = torch.zeros(tiny_generator.resolution)
    drawn[-4:] = 1
    added = apply_text_edit(tiny_generator, codes, upper.refined(keeps_outside=True, extra=drawn), halves).images
    assert (added - plain)[:, :, -4:].abs().mean() > 0.05


@pytest.mark.parametrize("masks", ["regions", "attention", "attention in regions"])
def test_masks_are_cut_in_training_as_they_are_applied(tiny_generator, codes, halves, masks):
    settings = TextEditSettings(masks=masks, threshold=0.7)
    model = TrainableEdit(tiny_generator, codes, halves, range(8), settings, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameters in (model.logits, *(model.attention.parameters() if model.attention else ())):
            if parameters is not None:
                parameters.add_(torch.randn(parameters.shape, generator=torch.Generator().manual_seed(2)) * 2)
    layers = range(len(tiny_generator.network.synthesis.layers))
    features = tiny_generator.network.synthesis(codes, SynthesisOptions(want_features=layers)).features
    trained = model.masks(tiny_generator, torch.arange(3), features)
    trained_reach = model.reach_masks(torch.arange(3), trained)
    assert min(float(mask.detach().amin()) for mask in trained) == 0 and all(mask.requires_grad for mask in trained)
    edit = model.to_text_edit("a hat", "a person", tiny_generator, settings)
    applied = row_masks(edit, tiny_generator, codes, halves)
    for row, mask in enumerate(trained):
        expected = torch.zeros(1) if applied[row] is None else applied[row]
        assert torch.allclose(mask.detach(), expected.expand_as(mask), atol=1e-5)
    for mask, expected in zip(trained_reach, reach_masks(edit, applied, halves), strict=True):
        nowhere = torch.zeros(1, 1, 1, 1)
        mask, expected = (nowhere if region is None else region.detach() for region in (mask, expected))
        assert torch.allclose(mask, expected, atol=1e-5)


def test_what_a_threshold_has_closed_can_open_again():
    strength = torch.tensor([0.05, 0.3], requires_grad=True)
    mask = cut_faint(strength, 0.1)
    assert mask.tolist() == pytest.approx([0.0, 0.2 / 0.9])
    mask.sum().backward()
    assert strength.grad.tolist() == pytest.approx([1 / 0.9, 1 / 0.9])


def test_the_last_layer_s_edit_stays_in_its_part(tiny_generator, codes, halves, edit):
    fine = edit.refined(rows=[tiny_generator.num_layers - 1])
    change = apply_text_edit(tiny_generator, codes, fine, halves).images - tiny_generator.synthesize(codes)
    middle = change.shape[2] // 2
    assert change[:, :, : middle - 1].abs().max() > 10 * change[:, :, middle + 1 :].abs().max()


def test_batches_and_chunks_do_not_matter(tiny_generator, codes, halves, edit):
    attention = LayerAttention([tiny_generator.network.synthesis.layer_size(k)[0]
                                for k in range(len(tiny_generator.network.synthesis.layers))])  # fmt: skip
    attentive = edit.refined(attention=attention)
    together = apply_text_edit(tiny_generator, codes, attentive, halves, chunk=3)
    single = apply_text_edit(tiny_generator, codes, attentive, halves, chunk=1)
    assert torch.allclose(together.images, single.images, atol=2e-5) and torch.allclose(
        together.masks, single.masks, atol=1e-5
    )


def test_a_mapper_moves_each_code_its_own_way(tiny_generator, codes, edit):
    mapper = LatentMapper(tiny_generator.num_layers, tiny_generator.w_dim, 1.0).requires_grad_(False)
    moved = edit.refined(mapper=mapper).changed(codes) - codes
    assert not torch.allclose(moved[0], moved[1]) and torch.allclose(moved, mapper(codes), atol=1e-5)


def test_rows_that_are_dropped_stay_plain(tiny_generator, codes, halves, edit):
    masks = row_masks(edit.refined(rows=[1, 2]), tiny_generator, codes, halves)
    assert [mask is not None for mask in masks] == [row in (1, 2) for row in range(tiny_generator.num_layers)]


def test_refining_by_hand(tiny_generator, codes, halves, edit):
    height, width = tiny_generator.resolution
    left = torch.zeros(height, width)
    left[:, : width // 2] = 1
    fine = edit.refined(rows=[tiny_generator.num_layers - 1])  # masks of coarse layers are blurred by their size
    cut = apply_text_edit(tiny_generator, codes, refine(fine, region=left), halves).masks
    assert cut[:, : height // 2, width // 2 + 2 :].max() < 0.1
    assert cut[:, 2 : height // 2 - 2, 2 : width // 2 - 2].min() > 0.9
    added = apply_text_edit(tiny_generator, codes, refine(edit, extra=left), halves).masks
    assert added[:, height // 2 + 2 :, : width // 2 - 2].min() > 0.9
    for change, message in (
        ({"drop_parts": ["nose"]}, "names 'nose'"),
        ({"drop_parts": ["upper"]}, "nothing is left"),
        ({"region": torch.zeros(4, 4)}, "is empty"),
        ({"region": torch.ones(2, 4, 4)}, "one mask"),
        ({"rows": [99]}, "None of the rows"),
        ({"threshold": 0.95}, "Nothing is left"),
        ({"rows": [7]}, "Nothing is left"),
    ):
        with pytest.raises(InputError, match=message):
            refine(edit.refined(selection=0.9 * edit.selection * (torch.arange(8) < 7)), **change)
    assert edit.acting_parts() == ("upper",) and edit.refined(selection=None, parts=()).acting_parts() == ()


def test_a_file_brings_everything_back(tmp_path, tiny_generator, codes, halves, edit):
    channels = [tiny_generator.network.synthesis.layer_size(k)[0]
                for k in range(len(tiny_generator.network.synthesis.layers))]  # fmt: skip
    full = edit.refined(
        mapper=LatentMapper(tiny_generator.num_layers, tiny_generator.w_dim, 0.3).requires_grad_(False),
        attention=LayerAttention(channels).requires_grad_(False), threshold=0.2, source="a person",
        extra=torch.rand(8, 8, generator=torch.Generator().manual_seed(1)),
    )  # fmt: skip
    path = write_text_edit(tmp_path / "edit.safetensors", vars(full))
    again = TextEdit(**read_text_edit(path))
    assert (again.prompt, again.source, again.parts, again.rows, again.threshold) == (
        "a hat",
        "a person",
        full.parts,
        full.rows,
        0.2,
    )
    first, second = (apply_text_edit(tiny_generator, codes, saved, halves).images for saved in (full, again))
    assert torch.equal(first, second)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(1)}, str(other))
    with pytest.raises(CheckpointError, match="text_edit"):
        read_text_edit(other)


@pytest.mark.parametrize(("rows", "sizes"), [(18, (4, 4, 10)), (14, (4, 4, 6)), (12, (4, 4, 4)), (8, (3, 3, 2))])
def test_a_mapper_splits_rows_as_published_and_an_older_file_s_by_thirds(tmp_path, rows, sizes):
    rng = torch.Generator().manual_seed(8)
    codes = torch.randn(2, rows, 6, generator=rng)
    mapper = LatentMapper(rows, 6, rng=rng).requires_grad_(False)
    assert mapper.sizes == sizes and [len(group) for group in mapper.groups] == [5] * len(sizes)
    changed = codes.clone()
    changed[:, sizes[0] :] += 1
    assert torch.equal(mapper(changed)[:, : sizes[0]], mapper(codes)[:, : sizes[0]])
    path = write_text_edit(tmp_path / "edit.safetensors", {"offset": codes[0], "mapper": mapper})
    assert torch.equal(read_text_edit(path)["mapper"](codes), mapper(codes))
    tensors, metadata = read_safetensors(path, "text_edit")
    config = json.loads(metadata["config"])
    for split in (None, [rows], [1, rows], "all"):
        older = {name: field for name, field in config.items() if name != "mapper_rows"}
        older |= {} if split is None else {"mapper_rows": split}
        written = write_safetensors(tmp_path / "older.safetensors", tensors, "text_edit", older, None, "")
        if split is None:
            thirds = read_text_edit(written)["mapper"].sizes
            assert sum(thirds) == rows and max(thirds) - min(thirds) <= 1
        else:
            with pytest.raises(CheckpointError):
                read_text_edit(written)


def test_an_edit_reaches_a_generator_adapted_to_a_photo(tiny_generator, codes, halves, edit):
    channels, *size = tiny_generator.network.synthesis.layer_size(len(tiny_generator.network.synthesis.layers) - 1)
    last = len(tiny_generator.network.synthesis.layers) - 1
    delta = 0.1 * torch.randn(3, channels, *size, generator=torch.Generator().manual_seed(4))
    adapted = with_adaptation(
        tiny_generator,
        Adaptation(codes, deltas={last: delta}, family=tiny_generator.family),
    )
    none = apply_text_edit(adapted, codes, edit, halves, alpha=0.0).images
    assert torch.allclose(none, adapted.synthesize(codes), atol=2e-5)
    assert not torch.allclose(apply_text_edit(adapted, codes, edit, halves).images, none, atol=1e-3)


def test_a_direction_of_the_lower_half_is_found_there(tiny_generator, codes, halves):
    """A direction whose change is confined by construction: only the lower part is worth its area."""
    direction = EditDirection(
        torch.randn(tiny_generator.num_layers, tiny_generator.w_dim, generator=torch.Generator().manual_seed(6)),
        torch.ones(tiny_generator.num_layers, tiny_generator.w_dim), layers=[tiny_generator.num_layers - 1],
        family=tiny_generator.family,
    )  # fmt: skip
    localized = localize_direction(tiny_generator, direction, codes, halves, steps=12, area=0.0, batch=2)
    assert localized.rows == (tiny_generator.num_layers - 1,)
    assert localized.selection[:, -1].min() > 0.5 and localized.selection[:, :-1].max() == 0
    outside_kept = localize_direction(
        tiny_generator, direction, codes, halves, steps=12, area=0.0, batch=2, stop_resolution=16, keep_outside=True
    )
    assert outside_kept.keeps_outside and not localized.keeps_outside
    dear = localize_direction(tiny_generator, direction, codes, halves, steps=12, area=50.0, batch=2)
    assert dear.selection[:, -1].max() < 0.5


@pytest.mark.parametrize(("height", "expected"), [(64, 3), (128, 5), (512, 21), (1024, 41)])
def test_a_change_counts_within_the_same_share_of_a_picture_of_any_size(height, expected):
    change = torch.zeros(1, 3, height, height)
    change[..., height // 2, height // 2] = 1
    counted = importance(change)[0, 0] > 0
    assert int(counted.any(dim=0).sum()) == int(counted.any(dim=1).sum()) == expected


def test_more_codes_than_a_pass_takes_keep_the_details_of_their_photos(tiny_generator, halves, edit):
    """Of codes without a row of their photo's, their order tells whose photo each is, which a part of them cannot."""
    rng = torch.Generator().manual_seed(6)
    photos = tiny_generator.map(torch.randn(6, tiny_generator.z_dim, generator=rng))
    channels = [tiny_generator.network.synthesis.layer_size(k)[0]
                for k in range(len(tiny_generator.network.synthesis.layers))]  # fmt: skip
    last = len(channels) - 1
    delta = torch.randn(6, *tiny_generator.network.synthesis.layer_size(last), generator=rng)
    adapted = with_adaptation(tiny_generator, Adaptation(photos, {last: delta}, family=tiny_generator.family))
    moved = photos.flip(0) + 0.1  # each nearer to another photo than to its own
    attentive = edit.refined(attention=LayerAttention(channels).requires_grad_(False))
    together, chunked = (apply_text_edit(adapted, moved, attentive, halves, chunk=chunk) for chunk in (6, 4))
    assert torch.allclose(together.images, chunked.images, atol=2e-5)
    assert torch.allclose(together.masks, chunked.masks, atol=1e-5)


def test_attention_to_many_pictures_looks_at_a_few_at_a_time(tiny_generator, codes, edit, monkeypatch):
    channels = [tiny_generator.network.synthesis.layer_size(k)[0]
                for k in range(len(tiny_generator.network.synthesis.layers))]  # fmt: skip
    batch_sizes = []
    attention = LayerAttention(channels).requires_grad_(False)
    attention.register_forward_pre_hook(lambda _, inputs: batch_sizes.append(len(inputs[1])))
    drawn = edit.refined(selection=None, parts=(), attention=attention)
    many = torch.cat([codes, codes, codes])
    masks = row_masks_in_chunks(drawn, tiny_generator, many)
    assert max(batch_sizes) <= 4 and all(len(mask) == 9 for mask in masks)
    seeded = (apply_text_edit(tiny_generator, many, drawn, noise=7, chunk=chunk).masks for chunk in (9, 4))
    assert torch.allclose(*seeded, atol=1e-5)


def test_parts_from_features_are_the_same_parts_in_any_batch(tiny_generator, codes):
    parts = parts_from_features(tiny_generator, codes, count=3, height=8, samples=6)
    assert parts.names == ("part 1", "part 2", "part 3")
    assert torch.allclose(parts.masks.sum(dim=1), torch.ones_like(parts.masks[:, 0]), atol=1e-5)
    alone = parts_from_features(tiny_generator, codes[1:2], count=3, height=8, samples=6)
    assert torch.allclose(alone.masks[0], parts.masks[1], atol=1e-4)
    with pytest.raises(InputError, match="height is 7"):
        parts_from_features(tiny_generator, codes, height=7)


def test_parts_from_features_of_many_parts_do_not_hold_the_features_for_each(tiny_generator, codes):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.numbers = max(self.numbers, result.numel())
            return result

    with Largest() as few:
        parts_from_features(tiny_generator, codes, count=2, height=32, samples=6)
    with Largest() as many:
        parts_from_features(tiny_generator, codes, count=24, height=32, samples=6)
    assert many.numbers <= 4 * few.numbers


def test_parts_from_masks_leave_the_rest_to_a_part_of_its_own():
    hair, face = torch.zeros(2, 8, 8), torch.zeros(4, 4)
    hair[:, :4], face[2:] = 1, 1
    parts = parts_from_masks([hair, face], ["hair", "face"])
    assert parts.names == ("hair", "face", "everything else") and parts.masks.shape == (2, 3, 8, 8)
    assert torch.allclose(parts.masks.sum(dim=1), torch.ones(2, 8, 8))
    for masks, names, message in (
        ([hair], ["hair", "face"], "2 names for 1"),
        ([torch.zeros(8, 8)], ["hair"], "All masks are empty"),
        ([hair, torch.ones(3, 8, 8)], ["hair", "face"], "mask of 'hair'"),
    ):
        with pytest.raises(InputError, match=message):
            parts_from_masks(masks, names)


def test_pictures_of_what_was_chosen(tiny_generator, codes, halves, edit):
    assert region_layer_chart(edit).shape[-1] == 3
    faint = edit.refined(selection=None, parts=(), threshold=0.1)  # glasses cover less of a picture than that
    charts = [region_layer_chart(faint, torch.full((1, 8), share)) for share in (0.0, 0.06)]
    assert not torch.equal(*charts), "a small region takes part as well"
    sheet = row_mask_sheet(tiny_generator.synthesize(codes[:1])[0], row_masks(edit, tiny_generator, codes[:1], halves))
    assert sheet.shape[-1] == 3 and 0 <= float(sheet.min()) and float(sheet.max()) <= 1
    assert part_colours(halves).shape == (1, 3, *tiny_generator.resolution)
    assert loss_chart({"total": [3.0, 2.0, 1.0]}, "a hat").shape == (380, 760, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": torch.zeros(8, 4)}, "changes nothing"),
        ({"selection": torch.ones(3, 8)}, "selection has shape"),
        ({"threshold": 1.5}, "threshold"),
        ({"rows": [99]}, "rows 0 to"),
    ],
)
def test_an_impossible_edit_is_refused(change, message):
    fields = {
        "prompt": "a hat",
        "offset": torch.ones(8, 4),
        "parts": ("upper",),
        "selection": torch.ones(1, 8),
        **change,
    }
    with pytest.raises(InputError, match=message):
        TextEdit(**fields)


def test_what_does_not_belong_together_is_refused(tiny_generator, tiny_progan, codes, halves, edit):
    with pytest.raises(InputError, match="connect the part labels"):
        apply_text_edit(tiny_generator, codes, edit)
    with pytest.raises(InputError, match="'upper', which is not among"):
        apply_text_edit(tiny_generator, codes, edit, PartLabels(halves.masks, ("hair", "lower")))
    with pytest.raises(InputError, match="part labels of 2 pictures for 3"):
        apply_text_edit(tiny_generator, codes, edit, PartLabels(halves.masks.expand(2, -1, -1, -1), halves.names))
    with pytest.raises(InputError, match="2 strengths for 3"):
        apply_text_edit(tiny_generator, codes, edit, halves, alpha=torch.ones(2))
    with pytest.raises(InputError, match="family"):
        apply_text_edit(tiny_generator, codes, edit.refined(family="another-64x64"), halves)
    with pytest.raises(InputError, match="Progressive"):
        apply_text_edit(tiny_progan, torch.zeros(1, 1, tiny_progan.z_dim), edit, halves)
