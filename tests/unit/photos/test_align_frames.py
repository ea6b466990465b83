"""Frames from points, boxes and the centre, and the reading of what detectors give."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.demo.portraits import render, sample_factors
from semantic_edit.demo.portraits.snapshots import SNAPSHOTS, paint_snapshot
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.photos.alignment import FRAMINGS, Alignment, box_frame, centre_frame, corners, face_frame
from semantic_edit.editing.photos.crops import Cropping, align
from semantic_edit.editing.photos.detections import (
    Box,
    detect_boxes,
    detect_in_masks,
    detect_in_parts,
    detect_points,
    detect_poses,
)
from semantic_edit.editing.photos.landmarks import FacePoints, face_from_names, face_from_parts, face_from_points
from semantic_edit.models import InputError

PHOTO = (400, 600)  # height, width
FACE = [[200.0, 150.0], [260.0, 150.0], [230.0, 180.0], [210.0, 210.0], [250.0, 210.0]]  # eyes, nose, mouth corners
few = settings(max_examples=40, deadline=None)


def turned(points, angle=0.0, scale=1.0, shift=(0.0, 0.0)):
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    return torch.as_tensor(points, dtype=torch.float64) @ turn.t() + torch.tensor(shift, dtype=torch.float64)


def to_crop(alignment_or_frame, points):
    turn, shift = alignment_or_frame[:, :2], alignment_or_frame[:, 2]
    return (torch.as_tensor(points, dtype=torch.float64) - shift) @ torch.linalg.inv(turn).t()


@few
@given(
    st.floats(-math.pi, math.pi),
    st.floats(0.3, 5),
    st.floats(-500, 500),
    st.sampled_from(sorted(FRAMINGS)),
    st.sampled_from([(64, 64), (96, 64), (64, 128)]),
)
def test_a_face_looks_the_same_however_it_lay_in_the_photo(angle, scale, shift, framing, size):
    upright = face_frame(face_from_points(torch.tensor(FACE)), FRAMINGS[framing], size)
    moved = turned(FACE, angle, scale, (shift, -shift))
    frame = face_frame(face_from_points(moved), FRAMINGS[framing], size)
    assert torch.allclose(to_crop(frame, moved), to_crop(upright, FACE), atol=1e-6)
    assert math.isclose(float(frame[:, 0].norm()), scale * float(upright[:, 0].norm()), rel_tol=1e-9)


def test_the_ffhq_recipe():
    """Eyes 60 apart, mouth 60 below: half a side is 2 * 60, the middle 6 below the eyes."""
    frame = face_frame(face_from_points(torch.tensor(FACE)), FRAMINGS["ffhq"], (256, 256))
    ends = corners(frame, (256, 256))
    assert torch.allclose(ends[0], torch.tensor([230.0 - 120, 156.0 - 120], dtype=torch.float64))
    assert torch.allclose(ends[2], torch.tensor([230.0 + 120, 156.0 + 120], dtype=torch.float64))


def test_a_face_that_stays_upright_and_one_that_is_moved_and_enlarged():
    face = face_from_points(turned(FACE, 0.4))
    frame = face_frame(face, FRAMINGS["ffhq"], (64, 64), level=False)
    assert float(frame[1, 0]) == 0.0
    plain = face_frame(face, FRAMINGS["ffhq"], (64, 64))
    closer = face_frame(face, FRAMINGS["ffhq"], (64, 64), zoom=2.0)
    assert math.isclose(float(closer[:, 0].norm()) * 2, float(plain[:, 0].norm()))
    lower = face_frame(face, FRAMINGS["ffhq"], (64, 64), shift_down=0.25)
    assert torch.allclose(to_crop(plain, corners(lower, (64, 64))[:1]), torch.tensor([[0.0, 16.0]]).double())


def test_demo_portraits_are_framed_as_they_were_painted():
    painted = render(sample_factors(12, torch.Generator().manual_seed(4)), 128)
    names = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")
    chosen = [painted.landmark_names.index(name) for name in names]
    for points in painted.landmarks[:, chosen]:
        frame = face_frame(face_from_points(points.double()), FRAMINGS["demo portraits"], (128, 128))
        assert 0.8 < float(frame[:, 0].norm()) < 1.2
        assert abs(float(frame[:, 0].norm() * 64 + frame[1, 2]) - 64) < 12  # the middle stays near the middle


def test_left_and_right_may_be_the_persons():
    face = FacePoints(torch.tensor([260.0, 150]), torch.tensor([200.0, 150]), torch.tensor([230.0, 210]))
    assert face.eye_left.tolist() == [200.0, 150.0]
    upside_down = turned(FACE, math.pi)
    assert face_from_points(upside_down).eye_left.tolist() == pytest.approx(upside_down[0].tolist())


@pytest.mark.parametrize(
    ("eye_left", "eye_right", "mouth", "message"),
    [
        ((10, 10), (10.5, 10), (10, 30), "degenerate"),
        ((10, 10), (30, 10), (20, 11), "degenerate"),
        ((10, 10), (30, 10), (60, 10), "one line"),
        ((10, float("nan")), (30, 10), (20, 30), "degenerate"),
    ],
)
def test_degenerate_points_are_refused(eye_left, eye_right, mouth, message):
    with pytest.raises(InputError, match=message):
        FacePoints(*(torch.tensor(point, dtype=torch.float64) for point in (eye_left, eye_right, mouth)))


@pytest.mark.parametrize("count", [3, 4, 5, 68, 70, 468, 478])
def test_layouts_of_points(count):
    points = torch.zeros(count, 2, dtype=torch.float64)
    groups = {3: [(0,), (1,), (2,)], 4: [(0,), (1,), (2, 3)], 5: [(0,), (1,), (3, 4)]}.get(count)
    if groups is None:
        groups = [range(36, 42), range(42, 48), (48, 54)] if count < 100 else [(33, 133), (263, 362), (61, 291)]
    for group, point in zip(groups, ([100, 50], [140, 50], [120, 90]), strict=True):
        points[list(group)] = torch.tensor(point, dtype=torch.float64)
    face = face_from_points(points)
    assert (face.eye_left.tolist(), face.eye_right.tolist(), face.mouth.tolist()) == ([100, 50], [140, 50], [120, 90])
    with pytest.raises(InputError, match="has 6 points"):
        face_from_points(points[:1].repeat(6, 1))


def test_names_of_points():
    named = {"leftEye": [1, 2], "right-eye": [41, 2], "Mouth_Left": [11, 30], "mouth right": [31, 30], "nose": [20, 15]}
    face = face_from_names(named)
    assert face.mouth.tolist() == [21, 30]
    with pytest.raises(InputError, match="no mouth; it names eye_left, eye_right"):
        face_from_names({"eye_left": [1, 2], "eye_right": [41, 2]})


def pairs(face):
    return [[float(x), float(y)] for x, y in face]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(FACE),
        json.dumps([FACE]),
        json.dumps([{"x": x, "y": y} for x, y in FACE]),
        json.dumps([value for point in FACE for value in point]),
        json.dumps({"points": FACE}),
        json.dumps([{"picture": 0, "points": FACE}]),
        json.dumps([[x / PHOTO[1], y / PHOTO[0]] for x, y in FACE]),
        "\n".join(f"{x}, {y}" for x, y in FACE),
        " ".join(f"{x} {y}" for x, y in FACE),
        json.dumps({"left_eye": FACE[0], "right_eye": FACE[1], "mouth": [230, 210]}),
    ],
)
def test_points_in_every_form(text):
    (detection,) = detect_points(text, 1, PHOTO)
    assert detection.picture == 0 and detection.geometry.mouth.tolist() == pytest.approx([230, 210])
    assert detection.geometry.eye_left.tolist() == pytest.approx([200, 150])


def test_points_that_no_face_is_made_of_have_no_say_in_the_units():
    mesh = [[0.4, 0.6]] * 478
    mesh[33] = mesh[133] = [200 / PHOTO[1], 150 / PHOTO[0]]
    mesh[263] = mesh[362] = [260 / PHOTO[1], 150 / PHOTO[0]]
    mesh[61] = mesh[291] = [230 / PHOTO[1], 210 / PHOTO[0]]
    for stray in ([1.004, 0.5], [-3.0, 7.0]):
        mesh[234] = stray  # the edge of the cheek
        (detection,) = detect_points(json.dumps(mesh), 1, PHOTO)
        assert detection.geometry.mouth.tolist() == pytest.approx([230, 210])
    named = {"left_eye": mesh[33], "right_eye": mesh[263], "mouth": mesh[61], "nose": [40.0, 30.0]}
    (detection,) = detect_points(json.dumps(named), 1, PHOTO)
    assert detection.geometry.eye_left.tolist() == pytest.approx([200, 150])


def test_one_point_beside_the_photo_does_not_change_the_units():
    face = [[0.8, 0.3], [0.95, 0.3], [0.9, 0.5], [0.82, 0.6], [1.02, 0.6]]  # a corner of the mouth is cut off
    (detection,) = detect_points(json.dumps(face), 1, PHOTO)
    assert detection.geometry.mouth.tolist() == pytest.approx([0.92 * PHOTO[1], 0.6 * PHOTO[0]])
    (detection,) = detect_boxes("[0.5, 0.4, 1.01, 1.004]", 1, PHOTO)
    assert tuple(detection.geometry) == pytest.approx((300, 160, 606, 401.6))
    boxes = [[0.1, 0.1, 0.4, 0.5]] * 5 + [[0.9, 0.9, 1.3, 1.2]]
    assert tuple(detect_boxes(boxes, 1, PHOTO)[5].geometry) == pytest.approx((540, 360, 780, 480))
    assert tuple(detect_boxes("[0, 0, 1, 300]", 1, PHOTO)[0].geometry) == (0, 0, 1, 300)  # in pixels


def test_faces_and_photos_are_matched():
    other = pairs(turned(FACE, shift=(50, 20)))
    assert [d.picture for d in detect_points(json.dumps([FACE, other]), 1, PHOTO)] == [0, 0]
    assert [d.picture for d in detect_points(json.dumps([FACE, other]), 2, PHOTO)] == [0, 1]
    assert [d.picture for d in detect_points(json.dumps(FACE), 3, PHOTO)] == [0, 1, 2]
    text = "\n".join(f"{x} {y}" for x, y in FACE) + "\n\n" + "\n".join(f"{x} {y}" for x, y in other)
    assert [d.picture for d in detect_points(text, 2, PHOTO)] == [0, 1]
    named = [{"picture": 2, "points": FACE}, {"picture": 2, "points": other}]
    assert [d.picture for d in detect_points(json.dumps(named), 3, PHOTO)] == [2, 2]
    with pytest.raises(InputError, match="2 faces for 3 photos"):
        detect_points(json.dumps([FACE, other]), 3, PHOTO)
    with pytest.raises(InputError, match="name photo 2; there are the photos 0 to 1"):
        detect_points(json.dumps(named), 2, PHOTO)
    with pytest.raises(InputError, match="some do not"):
        detect_points(json.dumps([FACE, {"picture": 0, "points": FACE}]), 2, PHOTO)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("{", "no valid JSON"),
        ("[NaN, 1]", "not finite"),
        ("eyes at the top", "not numbers"),
        ("[1, 2, 3]", "pairs of x and y"),
        ('{"nose": "big"}', "hold an object with nose"),
        ("[[1, 2], 3]", "cannot be read"),
        (json.dumps(FACE[:2]), "has 2 points"),
        (json.dumps(pairs(turned(FACE, shift=(500, 0)))), "outside the photo of 600 x 400"),
        ("[" * 3000 + "]" * 3000, "points"),
        ('[{"picture": true, "points": []}]', "picture True|cannot be read"),
    ],
)
def test_wrong_points_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        detect_points(text, 1, PHOTO)


KEYS = st.sampled_from(["x", "y", "points", "picture", "mouth", "left_eye", "bbox"])
LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(-9, 999)


@settings(max_examples=25, deadline=None)
@given(st.recursive(LEAVES, lambda below: st.lists(below, max_size=5) | st.dictionaries(KEYS, below, max_size=3)))
def test_any_json_is_read_or_refused(document):
    for detect in (detect_points, detect_boxes):
        try:
            detect(json.dumps(document), 2, PHOTO)
        except InputError as sentence:
            assert len(str(sentence)) > 20


def test_boxes_in_every_form():
    expected = (10.0, 20.0, 110.0, 220.0)
    for given_boxes in (
        "[10, 20, 110, 220]",
        [[10, 20, 110, 220]],
        [(10, 20, 110, 220)],
        torch.tensor([[10.0, 20, 110, 220]]),
        {"x": 10, "y": 20, "width": 100, "height": 200},
        [{"startX": 10, "startY": 20, "endX": 110, "endY": 220}],
        {"bbox": [10, 20, 110, 220]},
        [[[10, 20, 110, 220]]],
    ):
        (detection,) = detect_boxes(given_boxes, 1, PHOTO)
        assert tuple(detection.geometry) == expected and detection.picture == 0
    (detection,) = detect_boxes("[10, 20, 100, 200]", 1, PHOTO, "corner and size")
    assert tuple(detection.geometry) == expected
    per_photo = detect_boxes([[[0, 0, 9, 9], [20, 20, 40, 40]], [[1, 1, 9, 9]]], 2, PHOTO)
    assert [d.picture for d in per_photo] == [0, 0, 1]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ("[110, 20, 10, 220]", "no area"),
        ("[700, 20, 800, 220]", "outside the photo"),
        ("[1, 2, 3]", "cannot be read"),
        ([], "cannot be read"),
        ([[10, 20, 30, 40]] * 4, "4 boxes for 3 photos"),
    ],
)
def test_wrong_boxes_are_refused(boxes, message):
    with pytest.raises(InputError, match=message):
        detect_boxes(boxes, 3, PHOTO)


def test_box_and_centre_frames():
    frame = box_frame((100, 100, 200, 140), (64, 64), margin=0.5)
    assert corners(frame, (64, 64)).tolist() == [[50, 20], [250, 20], [250, 220], [50, 220]]
    wide = box_frame((100, 100, 200, 140), (64, 128), margin=0.0)
    assert corners(wide, (64, 128)).tolist() == [[100, 95], [200, 95], [200, 145], [100, 145]]
    middle = centre_frame(PHOTO, (64, 64))
    assert corners(middle, (64, 64)).tolist() == [[100, 0], [500, 0], [500, 400], [100, 400]]


def test_a_pose_in_fractions_with_a_point_beside_the_photo():
    keypoints = torch.zeros(70, 3)
    keypoints[36:42] = torch.tensor([0.4, 0.3, 1])
    keypoints[42:48] = torch.tensor([0.5, 0.3, 1])
    keypoints[[48, 54]] = torch.tensor([0.45, 0.5, 1])
    keypoints[16] = torch.tensor([1.01, 0.5, 1])  # the edge of the cheek
    keypoints[45] = torch.tensor([0.5, 1.01, 1])
    pose = {"people": [{"face_keypoints_2d": keypoints.flatten().tolist()}], "canvas_width": 300, "canvas_height": 200}
    (detection,) = detect_poses([pose], 1, PHOTO)
    assert detection.geometry.eye_left.tolist() == pytest.approx([240, 120], abs=1e-4)
    assert detection.geometry.mouth.tolist() == pytest.approx([270, 200], abs=1e-4)


def test_poses():
    keypoints = torch.zeros(70, 3)
    keypoints[36:42] = torch.tensor([100.0, 75, 1])
    keypoints[42:48] = torch.tensor([130.0, 75, 1])
    keypoints[[48, 54]] = torch.tensor([115.0, 105, 0.9])
    person = {"pose_keypoints_2d": [0.0] * 54, "face_keypoints_2d": keypoints.flatten().tolist()}
    pose = {"people": [person, {"face_keypoints_2d": None}], "canvas_width": 300, "canvas_height": 200}
    (detection,) = detect_poses([pose], 1, PHOTO)  # the canvas is half the photo
    assert detection.geometry.eye_left.tolist() == [200, 150] and detection.geometry.mouth.tolist() == [230, 210]
    keypoints[:, :2] /= torch.tensor([300.0, 200.0])
    pose["people"] = [{"face_keypoints_2d": keypoints.flatten().tolist()}]
    (detection,) = detect_poses([pose], 1, PHOTO)
    assert detection.geometry.mouth.tolist() == pytest.approx([230, 210], rel=1e-5)
    keypoints[40, 2] = 0.0  # a point that was not seen
    pose["people"] = [{"face_keypoints_2d": keypoints.flatten().tolist()}]
    assert detect_poses([pose], 1, PHOTO) == []
    with pytest.raises(InputError, match="1 pictures for 2 photos"):
        detect_poses([pose], 2, PHOTO)
    for wrong in ([1, 2], [{"people": None}] * 2):
        with pytest.raises(InputError, match="no OpenPose"):
            detect_poses(wrong, 2, PHOTO)
    for person in (None, {"face_keypoints_2d": ["a"] * 9}):
        with pytest.raises(InputError, match="no list of numbers"):
            detect_poses([{"people": [person]}], 1, PHOTO)


def test_areas_of_masks():
    mask = torch.zeros(100, 150)
    mask[10:30, 20:50] = 1
    mask[60:90, 100:140] = 0.9
    mask[0, 0] = 1  # a speck
    boxes = [tuple(d.geometry) for d in detect_in_masks(mask, 1, PHOTO)]
    assert boxes == [(80, 40, 200, 120), (400, 240, 560, 360)]  # the photo is four times as large
    assert detect_in_masks(torch.zeros(2, 8, 8), 2, PHOTO) == []
    with pytest.raises(InputError, match="2 masks for 3 photos"):
        detect_in_masks(torch.zeros(2, 8, 8), 3, PHOTO)


@few
@given(st.integers(0, 10**6), st.floats(0.3, 0.6))
def test_areas_are_those_of_a_flood(seed, density):
    mask = torch.rand(14, 17, generator=torch.Generator().manual_seed(seed)) < density
    left, sizes = {(int(y), int(x)) for y, x in torch.nonzero(mask)}, {}
    while left:
        front, area = [left.pop()], []
        while front:
            y, x = front.pop()
            area.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            front += near
        ys, xs = zip(*area, strict=True)
        sizes[(min(xs), min(ys), max(xs) + 1, max(ys) + 1)] = len(area)
    expected = sorted(box for box, size in sizes.items() if size >= 0.01 * max(sizes.values()))
    assert sorted({tuple(map(int, d.geometry)) for d in detect_in_masks(mask.float(), 1, (14, 17))}) == expected


def test_parts_give_eyes_and_mouth():
    painted = render(sample_factors(4, torch.Generator().manual_seed(2)), 96, parts=True)
    detections = detect_in_parts(PartLabels(painted.parts, painted.part_names), 4, (192, 192))
    for k, detection in enumerate(detections):
        truth = painted.landmarks[k, :2] * 2
        assert (torch.stack([detection.geometry.eye_left, detection.geometry.eye_right]) - truth).abs().max() < 8
    blank = painted.parts.clone()
    blank[1] = 0
    assert [d.picture for d in detect_in_parts(PartLabels(blank, painted.part_names), 4, (96, 96))] == [0, 2, 3]
    with pytest.raises(InputError, match="No part is called mouth"):
        detect_in_parts(PartLabels(painted.parts[:, :2], ("a", "b")), 4, (96, 96))
    one_eye = torch.zeros(9, 9)
    one_eye[4, 4] = 1
    with pytest.raises(InputError, match="one eye or none"):
        face_from_parts(one_eye, one_eye)


def test_largest_all_missing_and_names():
    small, large = pairs(turned(FACE, scale=0.5)), pairs(turned(FACE, shift=(150, 50)))
    detections = detect_points(json.dumps([large, small]), 1, PHOTO)
    alignment = align(detections, 1, PHOTO, (32, 32), faces="all", names=["pic"])
    assert alignment.names == ("pic face 1", "pic face 2") and alignment.pictures == (0, 0)
    assert float(alignment.scales[0]) < float(alignment.scales[1])  # from left to right: the small one first
    largest = align(detections, 1, PHOTO, (32, 32), names=["pic"])
    assert len(largest) == 1 and float(largest.scales[0]) == float(alignment.scales[1])
    second = detect_points(json.dumps([{"picture": 1, "points": FACE}]), 2, PHOTO)
    with pytest.raises(InputError, match="No face and no area was found in a"):
        align(second, 2, PHOTO, (32, 32), names=["a", "b"])
    assert align(second, 2, PHOTO, (32, 32), missing="leave out", names=["a", "b"]).names == ("b",)
    assert align(second, 2, PHOTO, (32, 32), missing="centre").pictures == (0, 1)
    with pytest.raises(InputError, match="No face"):
        align([], 2, PHOTO, (32, 32), missing="leave out")
    with pytest.raises(InputError, match="3 names for 2 photos"):
        align(None, 2, PHOTO, (32, 32), names=["a", "b", "c"])
    with pytest.raises(InputError, match="would span"):
        align(None, 1, (9000, 9000), (32, 32), Cropping(zoom=0.3))


def test_an_alignment_is_checked():
    frame = centre_frame(PHOTO, (32, 32))[None]
    for change, message in (
        (dict(transforms=frame[0]), "shape"),
        (dict(transforms=frame * torch.tensor([[1.0, 2, 1]])), "rotations"),
        (dict(transforms=frame * float("nan")), "rotations"),
        (dict(pictures=[1]), "there are 1"),
        (dict(names=["a", "b"]), "a name each"),
        (dict(crop_size=(0, 4)), "height and a width"),
    ):
        with pytest.raises(InputError, match=message):
            Alignment(**{**dict(transforms=frame, pictures=[0], photo_size=PHOTO, crop_size=(32, 32)), **change})
    for wrong in (dict(framing="passport"), dict(zoom=0.0), dict(margin=-1)):
        with pytest.raises(InputError):
            Cropping(**wrong)
    with pytest.raises(InputError, match="no area"):
        Box(1, 1, float("inf"), float("nan"))


def test_snapshots_know_where_their_faces_are():
    for snapshot in SNAPSHOTS:
        painted = paint_snapshot(snapshot, 128)
        assert painted.image.shape == (3, 128, 192) and painted.image.abs().max() <= 1
        for face, points in zip(painted.faces, painted.points, strict=True):
            x, y = points.mean(dim=0).tolist()
            assert face[int(y), int(x)] > 0.9
    with pytest.raises(ValueError, match="at least 64"):
        paint_snapshot(SNAPSHOTS[0], 10)
