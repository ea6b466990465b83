"""Inversion on a small random generator: it finds its own pictures again, each as if it were alone."""

import pytest
import torch
from semantic_edit.editing import invert
from semantic_edit.editing.common.pictures import fit_mask, fit_to_resolution, padding_mask
from semantic_edit.editing.common.similarity import perceptual_distance, psnr
from semantic_edit.models import InputError


@pytest.fixture
def pictures(tiny_generator):
    w = tiny_generator.map(torch.randn(3, tiny_generator.z_dim, generator=torch.Generator().manual_seed(8)))
    with torch.no_grad():
        return w, tiny_generator.synthesize(w)


@pytest.mark.parametrize("space", ["w+", "w"])
def test_the_pictures_come_closer(tiny_generator, pictures, space):
    _, images = pictures
    before = invert(tiny_generator, images, space=space, steps=0)
    after = invert(tiny_generator, images, space=space, steps=60)
    assert bool((after.psnr > before.psnr).all()) and float((after.psnr - before.psnr).mean()) > 3
    assert after.codes.shape == (3, tiny_generator.num_layers, tiny_generator.w_dim)
    rows_alike = torch.allclose(after.codes, after.codes[:, :1].expand_as(after.codes))
    assert rows_alike == (space == "w")


def test_a_start_is_kept_by_zero_steps_and_a_good_one_stays_good(tiny_generator, pictures):
    w, images = pictures
    unchanged = invert(tiny_generator, images, start=w, steps=0)
    assert torch.allclose(unchanged.codes, w, atol=1e-5) and float(unchanged.psnr.min()) > 60
    assert float(invert(tiny_generator, images, start=w, steps=10).psnr.min()) > 25


def test_a_picture_does_not_depend_on_its_neighbours(tiny_generator, pictures):
    _, images = pictures
    together = invert(tiny_generator, images, steps=8)
    alone = invert(tiny_generator, images[1:2], steps=8)
    assert torch.allclose(together.codes[1], alone.codes[0], atol=2e-3)


def test_masked_pixels_do_not_pull(tiny_generator, pictures):
    w, images = pictures
    spoiled = images.clone()
    spoiled[:, :, :10] = 1.0
    mask = torch.ones(1, 1, *images.shape[2:])
    mask[:, :, :10] = 0
    with torch.no_grad():
        outside = slice(10, None)
        masked = invert(tiny_generator, spoiled, start=w, steps=15, mask=mask)
        plain = invert(tiny_generator, spoiled, start=w, steps=15)
        error = [(r.images - images)[:, :, outside].square().mean() for r in (masked, plain)]
    assert error[0] < error[1]


def test_more_pull_stays_nearer(tiny_generator, pictures):
    _, images = pictures

    def apart(codes):
        return float((codes - codes.mean(dim=1, keepdim=True)).norm())

    loose, tight = (invert(tiny_generator, images, steps=30, pull=p).codes for p in (0.0, 5.0))
    assert apart(tight) < apart(loose)


def test_the_best_of_several_starts_is_kept(tiny_generator, pictures):
    w, images = pictures
    spoiled = w.clone()
    spoiled[1] += 3.0  # the encoder failed at one picture
    one = invert(tiny_generator, images, start=spoiled, steps=6)
    several = invert(tiny_generator, images, start=spoiled, steps=6, starts=4)
    assert several.starts[0] == several.starts[2] == "given codes" and several.starts[1] != "given codes"
    assert float(several.psnr[1]) > float(one.psnr[1]) + 1
    again = invert(tiny_generator, images, start=spoiled, steps=6, starts=4)
    assert torch.equal(several.codes, again.codes)


def test_starts_near_the_pictures_are_found(tiny_generator):
    from semantic_edit.editing.common.sample import sample
    from semantic_edit.editing.photos.inversion_starts import candidates

    pool = sample(tiny_generator, 96, 3).codes
    with torch.no_grad():
        images = tiny_generator.synthesize(pool[[5, 80]])
    starts = candidates(tiny_generator, images, None, 3, 3, "constant")
    assert [name for name, _ in starts] == ["mean", "sample 1", "sample 2"]
    assert torch.allclose(starts[1][1], pool[[5, 80]], atol=1e-5)
    with pytest.raises(InputError, match="at least one start"):
        invert(tiny_generator, images, starts=0)


def test_a_progressive_gan_is_inverted_with_features_of_its_own(tiny_progan):
    codes = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        images = tiny_progan.synthesize(codes).roll(4, 3)  # no code draws that
    plain = invert(tiny_progan, images, steps=12)
    fitted = invert(tiny_progan, images, steps=12, early_layers=4)
    assert torch.equal(plain.codes, fitted.codes) and plain.generator is tiny_progan
    assert bool((fitted.psnr > plain.psnr + 0.3).all())
    assert fitted.generator.family == tiny_progan.family and plain.starts == ("sample 1", "sample 1")


def test_the_report_says_where_the_rest_is(tiny_generator, pictures):
    w, images = pictures
    spoiled = images.clone()
    spoiled[0, :, :10, :10] = 1.0
    result = invert(tiny_generator, spoiled, start=w, steps=0)
    assert result.where[0].startswith("top left: ") and "% of the error on 11 % of it" in result.where[0]
    assert result.where[1] == "even over the picture"
    assert float(result.error[0, 0, :8, :8].mean()) > 0.2 > float(result.error[0, 0, 20:].max())
    mask = torch.ones(1, 1, *images.shape[2:])
    mask[:, :, :14, :14] = 0
    masked = invert(tiny_generator, spoiled, start=w, steps=0, mask=mask)
    assert float(masked.psnr[0]) > 60 > float(result.psnr[0]) and float(masked.error.max()) < 0.01


def test_heat_is_black_where_pictures_are_equal():
    from semantic_edit.editing.photos.inversion_report import heat_picture

    error = torch.tensor([0.0, 0.15, 0.4, 0.6]).reshape(1, 1, 1, 4)
    colours = heat_picture(error)[0, :, 0].t()
    assert colours[0].tolist() == [-1, -1, -1] and colours[3].tolist() == [1, 1, 1]
    assert bool((colours[1:].sum(dim=1) > colours[:-1].sum(dim=1)).all())


def test_progress_counts_the_race_and_can_stop_it(tiny_generator, pictures):
    _, images = pictures
    reports = []
    invert(tiny_generator, images, steps=4, starts=2, early_layers=1, progress=lambda *a: reports.append(a[:2]))
    assert reports[-1][0] == reports[-1][1] and all(step <= total for step, total in reports)
    assert [step for step, _ in reports] == sorted(step for step, _ in reports)

    def stop(step, total, preview=None):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        invert(tiny_generator, images, steps=4, starts=3, progress=stop)


def test_under_inference_mode(tiny_generator, pictures):
    _, images = pictures
    with torch.inference_mode():
        result = invert(tiny_generator, images.clone(), steps=3)
    assert not result.codes.is_inference() and torch.isfinite(result.codes).all()


def test_wrong_inputs(tiny_generator, pictures):
    w, images = pictures
    with pytest.raises(InputError, match="draws"):
        invert(tiny_generator, images[:, :, :16])
    hollow = images.clone()
    hollow[1, 0, 3, 4] = float("nan")
    with pytest.raises(InputError, match="pictures to invert hold values that are not finite"):
        invert(tiny_generator, hollow)
    with pytest.raises(InputError, match="The masks hold"):
        invert(tiny_generator, images, mask=hollow[:, :1])
    with pytest.raises(InputError, match="Unknown space"):
        invert(tiny_generator, images, space="z")
    with pytest.raises(InputError, match="2 start codes for 3"):
        invert(tiny_generator, images, start=w[:2])
    with pytest.raises(InputError, match="The mask has shape"):
        invert(tiny_generator, images, mask=torch.ones(1, 1, 8, 8))
    with pytest.raises(InputError, match="mask is empty"):
        invert(tiny_generator, images, mask=torch.zeros(1, 1, 32, 32))
    with pytest.raises(InputError, match="early_layers is -1"):
        invert(tiny_generator, images, early_layers=-1)
    with pytest.raises(InputError, match="negative"):
        invert(tiny_generator, images, steps=-1)


def test_sizes_are_fitted_and_shapes_cropped_padded_or_stretched(tiny_generator):
    height, width = tiny_generator.resolution
    assert fit_to_resolution(tiny_generator, torch.rand(2, 3, 2 * height, 2 * width)).shape == (2, 3, height, width)
    wide = torch.linspace(-1, 1, 2 * width).expand(1, 3, height, 2 * width)
    cropped = fit_to_resolution(tiny_generator, wide)
    assert torch.equal(cropped, wide[..., width // 2 : -(width // 2)])
    padded = fit_to_resolution(tiny_generator, wide, "pad")
    border = padding_mask(wide, (height, width), "pad")
    assert padded.shape == cropped.shape and border.shape == (1, 1, height, width)
    assert bool((padded[:, :, : height // 4] == 1).all()) and float(border[:, :, : height // 4].max()) == 0
    assert float(border[:, :, height // 4 : -(height // 4)].min()) > 0.999
    stretched = fit_to_resolution(tiny_generator, wide, "stretch")
    assert float(stretched[..., 0].max()) < -0.9 and float(stretched[..., -1].min()) > 0.9
    for odd in (torch.rand(1, 3, 7, 400), torch.rand(1, 3, 401, 3), torch.rand(1, 3, 33, 31)):
        for fit in ("crop", "pad", "stretch"):
            assert fit_to_resolution(tiny_generator, odd, fit).shape == (1, 3, height, width)
    with pytest.raises(InputError, match="fit"):
        fit_to_resolution(tiny_generator, wide, "squeeze")


def test_a_mask_is_fitted_as_its_picture():
    mask = torch.zeros(1, 1, 32, 64)
    mask[..., 32:] = 1
    assert torch.equal(fit_mask(mask, (32, 32))[0, 0, 0] > 0.5, torch.arange(32) >= 16)
    padded = fit_mask(mask, (32, 32), "pad")
    assert float(padded[:, :, :8].max()) == 0 and float(padded[:, :, 8:24, 17:].min()) > 0.9
    assert padding_mask(torch.zeros(1, 3, 64, 64), (32, 32), "pad") is None
    assert padding_mask(torch.zeros(1, 3, 32, 64), (32, 32), "crop") is None


def test_perceptual_distance_is_zero_only_for_equal_pictures():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 32, 24, generator=rng) * 2 - 1
    assert float(perceptual_distance(x, x).max()) < 1e-6
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    assert float(perceptual_distance(x, blurred).min()) > 0.05
    y = x.clone().requires_grad_(True)
    perceptual_distance(y, blurred).sum().backward()
    assert torch.isfinite(y.grad).all()


def test_perceptual_distance_looks_only_where_the_weight_is():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, 32, 32, generator=rng) * 2 - 1
    y = x.clone()
    y[..., :12] = 0
    weight = torch.zeros(1, 1, 32, 32)
    weight[..., 20:] = 1
    assert float(perceptual_distance(x, y, weight, levels=1)) < 1e-6
    assert float(perceptual_distance(x, y)) > 0.05


def test_psnr():
    x = torch.zeros(1, 3, 8, 8)
    assert float(psnr(x, x + 0.2)) == pytest.approx(20.0, abs=1e-3)


def test_networks_that_are_connected_have_a_say(tiny_generator, pictures, tiny_perceptual, tiny_identity):
    """The codes end nearer to the pictures by the network that took part, each in a batch as alone."""
    _, pictures = pictures
    pictures = pictures.clamp(-1, 1)
    plain = invert(tiny_generator, pictures, steps=40, pull=0.0, perceptual=0.0)
    by_look = invert(tiny_generator, pictures, steps=40, pull=0.0, perceptual=2.0, perceptual_network=tiny_perceptual)
    target = tiny_perceptual.target(pictures)
    looks = [float(tiny_perceptual.distance(r.images, target).mean()) for r in (by_look, plain)]
    assert looks[0] < looks[1]
    by_face = invert(tiny_generator, pictures, steps=40, pull=0.0, perceptual=0.0, identity=tiny_identity)
    likeness = [float((tiny_identity(r.images) * tiny_identity(pictures)).sum(dim=1).mean()) for r in (by_face, plain)]
    assert likeness[0] > likeness[1]
    one = invert(tiny_generator, pictures[1:2], steps=5, perceptual_network=tiny_perceptual, identity=tiny_identity)
    both = invert(tiny_generator, pictures, steps=5, perceptual_network=tiny_perceptual, identity=tiny_identity)
    assert torch.allclose(one.codes[0], both.codes[1], atol=1e-3)
