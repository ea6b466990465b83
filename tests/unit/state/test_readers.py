"""Readers read what they say they read: examples, masks, faces and numbers, with a noise that was measured."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.demo import measure, render, sample_factors
from semantic_edit.demo.assets import demo_file
from semantic_edit.demo.portraits.factors import INDEX
from semantic_edit.editing.common.face_landmarks import LandmarkedFace
from semantic_edit.editing.one_for_all.features import encoder_space
from semantic_edit.editing.state import (
    FACE_MEASURES,
    StateReader,
    face_measure_names,
    measure_faces,
    measure_masks,
    measure_noise,
    reader_from_example,
    reader_from_face,
    reader_from_mask,
)
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.errors import InputError


@pytest.fixture(scope="module")
def features():
    return encoder_space(load_encoder(demo_file("encoders"))).read


@pytest.fixture(scope="module")
def portraits():
    factors = sample_factors(48, torch.Generator().manual_seed(3))
    return factors, render(factors, 64).images


def pair(name: str, low: float, high: float):
    """One portrait before and after a perfect edit of one factor."""
    factors = sample_factors(1, torch.Generator().manual_seed(5)).repeat(2, 1)
    factors[:, INDEX[name]] = torch.tensor([low, high])
    return render(factors, 64).images.split(1)


@pytest.mark.parametrize(("name", "low", "high"), [("yaw", -0.3, 0.5), ("hair_len", 0.1, 0.9), ("mouth_open", 0, 0.9)])
def test_one_example_teaches_to_read_an_attribute_of_others(features, portraits, name, low, high):
    factors, pictures = portraits
    before, after = pair(name, low, high)
    reader = reader_from_example(features, before, after, pictures, name)
    readings = reader.read(pictures)
    assert readings.shape == (48, 1)
    assert torch.corrcoef(torch.stack([readings[:, 0], factors[:, INDEX[name]]]))[0, 1] > 0.75
    torch.testing.assert_close(
        reader.read(torch.cat([before, after]))[:, 0], torch.tensor([0.0, 1.0]), atol=1e-4, rtol=0
    )
    assert reader.target.tolist() == [1.0]
    assert 0 < reader.noise[0] < readings.std()


def test_two_networks_read_together_by_their_mean_and_better(portraits):
    """Each mistakes something of a picture for the edit, and the other does not."""
    factors, pictures = portraits
    before, after = pair("hair_len", 0.1, 0.9)
    rng = torch.Generator().manual_seed(1)
    planes = [torch.randn(3, 64, 64, generator=rng) for _ in range(2)]
    known = {picture.sum().item(): row for picture, row in zip(pictures, factors, strict=True)}

    def network(column: str, plane: torch.Tensor):
        def features(batch: torch.Tensor) -> torch.Tensor:
            mistaken = [known[x.sum().item()][INDEX[column]] if x.sum().item() in known else 0.0 for x in batch]
            length = measure(batch)["hair_len"]
            return torch.stack([length + 0.5 * torch.tensor(mistaken), (batch * plane).mean(dim=(1, 2, 3))], dim=1)

        return features

    networks = [network("yaw", planes[0]), network("smile", planes[1])]
    alone = [reader_from_example(one, before, after, pictures).read(pictures) for one in networks]
    together = reader_from_example(networks, before, after, pictures)
    readings = together.read(pictures)
    torch.testing.assert_close(readings, torch.stack(alone).mean(dim=0), atol=1e-5, rtol=0)
    truth = factors[:, INDEX["hair_len"]]
    skill = [float(torch.corrcoef(torch.stack([x[:, 0], truth]))[0, 1]) for x in (readings, *alone)]
    assert skill[0] > max(skill[1:])
    assert together.key != reader_from_example(networks[:1], before, after, pictures).key
    with pytest.raises(InputError, match="No network reads the example"):
        reader_from_example([], before, after)


def test_copies_of_the_example_serve_where_there_are_no_other_pictures(features):
    before, after = pair("yaw", -0.3, 0.5)
    reader = reader_from_example(features, before, after)
    assert reader.read(after)[0, 0] > reader.read(before)[0, 0] + 0.9


def test_an_example_that_changes_nothing_is_refused(features):
    before, _ = pair("yaw", 0, 0)
    with pytest.raises(InputError, match="see no difference"):
        reader_from_example(features, before, before.clone())
    with pytest.raises(InputError, match="pairs of one size"):
        reader_from_example(features, before, before[..., :32])


def test_noise_is_that_of_copies_which_show_the_same(portraits):
    pictures = portraits[1][:8]

    def grey(batch):
        return batch.mean(dim=(1, 2, 3))

    def constant(batch):
        return torch.zeros(len(batch))

    assert measure_noise(constant, pictures).tolist() == [0.0]
    assert 0.001 < float(measure_noise(grey, pictures)) < 0.1
    assert torch.equal(measure_noise(grey, pictures), measure_noise(grey, pictures))
    with pytest.raises(InputError, match="can read none"):
        measure_noise(lambda batch: torch.full((len(batch),), torch.nan), pictures)


def test_masks_are_measured_by_area_place_and_colour():
    pictures = torch.full((2, 3, 8, 10), -1.0)
    pictures[0, 0, 2:4, 5:] = 1.0
    masks = torch.zeros(2, 8, 10)
    masks[0, 2:4, 5:] = 1.0
    names = ("area", "left to right", "top to bottom", "red", "green", "saturation", "brightness")
    readings = measure_masks(pictures, masks, names)
    expected = torch.tensor([10 / 80, 0.75, 3 / 8, 1.0, 0.0, 1.0, 0.2126])
    torch.testing.assert_close(readings[0], expected, atol=1e-5, rtol=0)
    assert readings[1, 0] == 0
    assert torch.isnan(readings[1, 1:]).all()


def test_a_mask_reader_explains_what_it_cannot_read():
    reader = reader_from_mask(lambda pictures: (pictures[:, 0] > 0).float(), ("area", "brightness"))
    pictures = torch.full((2, 3, 8, 8), -1.0)
    pictures[0] = 1.0
    assert reader.read(pictures)[0].tolist() == [1.0, 1.0]
    assert reader.explain(pictures) == ("", "its mask is empty, so that it has no brightness")
    with pytest.raises(InputError, match="Unknown measure 'weight'"):
        reader_from_mask(None, ("weight",))
    with pytest.raises(InputError, match="The masks have shape"):
        measure_masks(pictures, torch.ones(3, 8, 8), ("area",))


def mesh(mouth_open=0.1, smile=0.0, eyes=0.3, turn=0.0, tilt=0.0, size=100.0) -> LandmarkedFace:
    """A face whose measured points lie where these numbers put them, y down."""
    points = torch.zeros(478, 2, dtype=torch.float64)
    for index, point in {
        33: (-0.65, 0), 133: (-0.35, 0), 362: (0.35, 0), 263: (0.65, 0),
        61: (-0.4, 0.9 - smile), 291: (0.4, 0.9 - smile), 13: (0, 0.9 - mouth_open / 2), 14: (0, 0.9 + mouth_open / 2),
        105: (-0.6, -0.3), 66: (-0.3, -0.3), 296: (0.3, -0.3), 334: (0.6, -0.3),
        234: (-1, 0.3), 454: (1, 0.3), 10: (0, -0.9), 152: (0, 1.6), 1: (turn, 0.6),
    }.items():  # fmt: skip
        points[index] = torch.tensor(point, dtype=torch.float64)
    for pairs, centre in (((159, 145), (160, 144), (158, 153)), -0.5), (((386, 374), (385, 380), (387, 373)), 0.5):
        for top, bottom in pairs:
            points[top], points[bottom] = torch.tensor([centre, -eyes * 0.15]), torch.tensor([centre, eyes * 0.15])
    angle = torch.tensor(tilt, dtype=torch.float64).deg2rad()
    turned = torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
    return LandmarkedFace(points @ turned.T * size + 200)


def test_a_face_is_measured_whatever_its_size_place_and_tilt():
    names = [name for name in FACE_MEASURES if name != "tilt"]
    plain = measure_faces([[mesh()]], names)
    torch.testing.assert_close(measure_faces([[mesh(tilt=20.0, size=37.0)]], names), plain, atol=1e-3, rtol=0)
    assert measure_faces([[mesh(tilt=20.0)]], ["tilt"]).item() == pytest.approx(20.0)
    assert measure_faces([[mesh()]], ["mouth open", "eyes open"])[0].tolist() == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("mouth open", {"mouth_open": 0.0}, {"mouth_open": 0.4}), ("smile", {}, {"smile": 0.1}),
        ("eyes open", {"eyes": 0.1}, {"eyes": 0.4}), ("turn", {"turn": -0.2}, {"turn": 0.2}),
    ],
)  # fmt: skip
def test_each_measure_rises_with_what_it_is_named_after(name, less, more):
    low, high = measure_faces([[mesh(**less)], [mesh(**more)]], [name])[:, 0].tolist()
    assert high > low + 0.05


def test_blendshapes_and_pose_are_read_by_name():
    angle = torch.tensor(30.0, dtype=torch.float64).deg2rad()
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 0] = pose[2, 2] = angle.cos()
    pose[0, 2], pose[2, 0] = angle.sin(), -angle.sin()
    face = LandmarkedFace(mesh().points, None, {"mouthSmileLeft": 0.2, "mouthSmileRight": 0.6}, pose)
    readings = measure_faces([[face]], ["mouthSmileLeft", "mouthSmileLeft + mouthSmileRight", "turn", "nod"])[0]
    torch.testing.assert_close(readings, torch.tensor([0.2, 0.4, 30.0, 0.0]))
    assert face_measure_names(face)[-2:] == ("mouthSmileLeft", "mouthSmileRight")
    with pytest.raises(InputError, match="The face has no 'jawOpen'; what can be read of it: mouth open"):
        measure_faces([[face]], ["jawOpen"])


def test_no_face_and_two_faces_are_explained_and_not_lost():
    pictures = [[], [mesh()], [mesh(), mesh(size=200.0, mouth_open=0.3)]]
    reader = reader_from_face(lambda batch: pictures, ["mouth open"])
    images = torch.zeros(3, 3, 4, 4)
    readings = reader.read(images)[:, 0]
    assert torch.isnan(readings[0])
    assert readings[1:].tolist() == pytest.approx([0.1, 0.3])
    assert reader.explain(images) == ("it shows no face", "", "")
    only = reader_from_face(lambda batch: pictures, ["mouth open"], "only")
    assert torch.isnan(only.read(images)[2, 0])
    assert only.explain(images)[2] == "it shows 2 faces, and only a single one is read"


def test_readers_check_their_shapes_and_keep_some_of_their_numbers():
    reader = StateReader(
        lambda pictures: pictures.mean(dim=(2, 3)), ("red", "green", "blue"), noise=torch.tensor([0.1, 0.2, 0.3])
    )
    pictures = torch.rand(2, 3, 4, 4)
    chosen = reader.select(["blue", "red"])
    torch.testing.assert_close(chosen.read(pictures), pictures.mean(dim=(2, 3))[:, [2, 0]])
    torch.testing.assert_close(chosen.noise, torch.tensor([0.3, 0.1]))
    assert len(reader) == 3
    assert reader.units == ("", "", "")
    with pytest.raises(InputError, match="knows no 'grey'"):
        reader.select(["grey"])
    with pytest.raises(InputError, match="The pictures have shape"):
        reader.read(pictures[0])
    with pytest.raises(InputError, match="gave readings of shape"):
        StateReader(lambda pictures: pictures.mean(dim=(2, 3)), ("one",)).read(pictures)
    for change in ({"names": ()}, {"units": ("a", "b")}, {"noise": torch.tensor([-1.0])}, {"target": torch.ones(2)}):
        with pytest.raises(InputError, match="A state reader"):
            StateReader(**{"of_pictures": None, "names": ("one",), **change})


def test_the_oracle_agrees_with_what_an_example_reads(features, portraits):
    """Grading and reading are different networks."""
    _, pictures = portraits
    before, after = pair("yaw", -0.3, 0.5)
    readings = reader_from_example(features, before, after, pictures).read(pictures)[:, 0]
    assert torch.corrcoef(torch.stack([readings, measure(pictures)["yaw"]]))[0, 1] > 0.75
