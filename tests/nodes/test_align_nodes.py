"""Align Crop, Paste Back and Load Demo Scene as ComfyUI runs them."""

from __future__ import annotations

import json

import pytest
import torch
from semantic_edit.demo.portraits import PART_NAMES
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.photos.alignment import Alignment
from semantic_edit.models import InputError


@pytest.fixture
def scene(run_node):
    (photo, points, faces, people), _ = run_node("LoadDemoScene", scene="three at the fence", height=128)
    return photo, points, faces, people


def test_a_scene_and_its_truth(scene):
    photo, points, faces, people = scene
    assert photo.shape == (1, 128, 192, 3) and faces.shape == (1, 128, 192)
    assert [len(face) for face in json.loads(points)] == [5, 5, 5] and people.splitlines() == ["kofi", "hana", "bela"]


def test_every_face_out_and_back(run_node, scene, tiny_generator):
    photo, points, _, _ = scene
    options = dict(photos=photo, points=points, faces="all", framing="demo portraits", generator=tiny_generator)
    (crops, alignment, preview, inside, names), _ = run_node("AlignCrop", **options)
    assert crops.shape == (3, 32, 32, 3) and inside.shape == (3, 32, 32) and preview.shape == (1, 128, 192, 3)
    assert isinstance(alignment, Alignment)
    assert names.splitlines() == [f"picture 1 face {k}" for k in (1, 2, 3)]
    assert alignment.angles.tolist() == pytest.approx([-9, 7, -4], abs=1.5)
    (pasted, mask), _ = run_node("PasteBack", photos=photo, crops=1 - crops, alignment=alignment)
    assert torch.equal(pasted[mask == 0], photo[mask == 0]) and not torch.equal(pasted, photo)
    (same, _), _ = run_node("PasteBack", photos=photo, crops=1 - crops, alignment=alignment, before=1 - crops)
    assert torch.allclose(same, photo, atol=1e-6)


def test_every_method(run_node, scene):
    photo, points, faces, _ = scene
    options = dict(photos=photo, width=48, height=64)
    (by_mask, where, *_), _ = run_node("AlignCrop", mask=faces, faces="all", **options)
    assert by_mask.shape == (3, 64, 48, 3) and len(where) == 3
    (by_box, where, *_), _ = run_node("AlignCrop", boxes="[[20, 20, 80, 90]]", **options)
    assert by_box.shape == (1, 64, 48, 3)
    (by_socket, other, *_), _ = run_node("AlignCrop", bboxes=[[20, 20, 80, 90]], method="boxes", **options)
    assert torch.equal(by_socket, by_box) and torch.equal(other.transforms, where.transforms)
    (by_points, *_), _ = run_node("AlignCrop", points=points, method="points", **options)
    keypoints = torch.zeros(68, 3)
    eye_left, eye_right, _, mouth_left, mouth_right = json.loads(points)[0]
    for group, point in (
        (slice(36, 42), eye_left),
        (slice(42, 48), eye_right),
        ([48], mouth_left),
        ([54], mouth_right),
    ):
        keypoints[group] = torch.tensor([*point, 1.0])
    pose = [
        {"people": [{"face_keypoints_2d": keypoints.flatten().tolist()}], "canvas_width": 192, "canvas_height": 128}
    ]
    (by_pose, *_), _ = run_node("AlignCrop", pose=pose, **options)
    assert torch.allclose(by_pose, by_points, atol=1e-4), "the first face is the largest"
    masks = torch.zeros(1, len(PART_NAMES), 128, 192)
    for name, points_of_part in (("eyes", (eye_left, eye_right)), ("mouth", (mouth_left, mouth_right))):
        for x, y in points_of_part:
            masks[0, PART_NAMES.index(name), int(y), int(x)] = 1
    (by_parts, *_), _ = run_node("AlignCrop", parts=PartLabels(masks, PART_NAMES), **options)
    assert (by_parts - by_points).abs().mean() < 0.05
    (centre, *_), _ = run_node("AlignCrop", points=points, method="centre", **options)
    assert torch.allclose(centre, torch.nn.functional.avg_pool2d(photo[:, :, 48:144].movedim(-1, 1), 2).movedim(1, -1),
                          atol=1e-4)  # fmt: skip


def test_faces_and_boxes_of_comfyuis_own_detectors(run_node, scene):
    """What Detect Face Landmarks sends: a mesh per face, and boxes by a corner and a size, a list per photo."""
    photo, points, _, _ = scene
    options = dict(photos=photo, width=48, height=64, faces="all")
    meshes, boxes = [], []
    for eye_left, eye_right, _, mouth_left, mouth_right in json.loads(points):
        mesh = torch.zeros(478, 2)
        mesh[[33, 133]], mesh[[263, 362]] = torch.tensor(eye_left), torch.tensor(eye_right)
        mesh[61], mesh[291] = torch.tensor(mouth_left), torch.tensor(mouth_right)
        meshes.append({"landmarks_xy": mesh.numpy(), "score": 0.9})
        (x, y), (right, bottom) = eye_left, mouth_right
        boxes.append({"x": x, "y": y, "width": right - x, "height": bottom - y, "label": "face", "score": 0.9})
    found = {"frames": [meshes], "image_size": (128, 192)}
    (by_points, where, *_), _ = run_node("AlignCrop", points=points, **options)
    (by_mesh, other, *_), _ = run_node("AlignCrop", landmarks=found, bounding_boxes=[boxes], **options)
    assert torch.allclose(other.transforms, where.transforms, atol=1e-3), "landmarks come before boxes"
    assert torch.allclose(by_mesh, by_points, atol=1e-3)
    corners = [[box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]] for box in boxes]
    (by_corners, *_), _ = run_node("AlignCrop", bboxes=corners, **options)
    for given in ([boxes], boxes):
        (by_boxes, *_), _ = run_node("AlignCrop", landmarks=found, bounding_boxes=given, method="boxes", **options)
        assert torch.allclose(by_boxes, by_corners, atol=1e-4)
    two = dict(options, photos=photo.repeat(2, 1, 1, 1))
    (crops, *_), _ = run_node("AlignCrop", bounding_boxes=boxes[0], **two)
    assert len(crops) == 2, "one box serves all photos"
    (crops, *_), _ = run_node("AlignCrop", bounding_boxes=[boxes, []], missing="leave out", **two)
    assert len(crops) == 3
    for given in ([], [[]], [[], []]):
        with pytest.raises(InputError, match="No face and no area"):
            run_node("AlignCrop", bounding_boxes=given, **two)
    for name, given, sentence in (
        ("bounding_boxes", [boxes, [], []], "of 3 pictures for 2"),
        ("bounding_boxes", 5, "type int"),
        ("landmarks", found, "of 1 pictures for 2"),
        ("landmarks", {"frames": [[{"landmarks_xy": [[1, 2]] * 7}], []]}, "has 7 points"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_node("AlignCrop", **{name: given}, **two)


def test_a_batch_with_names_and_a_photo_without_a_face(run_node, scene):
    photo, points, faces, _ = scene
    photos, masks = photo.repeat(2, 1, 1, 1), torch.cat([faces, torch.zeros_like(faces)])
    options = dict(photos=photos, mask=masks, names="a.png\nb.png", width=32, height=32)
    with pytest.raises(InputError, match="found in b.png"):
        run_node("AlignCrop", **options)
    (crops, alignment, _, _, names), _ = run_node("AlignCrop", missing="leave out", **options)
    assert names == "a.png" and crops.shape == (1, 32, 32, 3)
    (pasted, mask), _ = run_node("PasteBack", photos=photos, crops=crops * 0, alignment=alignment)
    assert torch.equal(pasted[1], photos[1]) and mask[1].max() == 0


def test_only_some_parts(run_node, scene):
    photo, points, _, _ = scene
    (crops, alignment, *_), _ = run_node("AlignCrop", photos=photo, points=points, width=32, height=32)
    masks = torch.zeros(1, 2, 32, 32)
    masks[:, 0, :, :16], masks[:, 1, :, 16:] = 1, 1
    options = dict(
        photos=photo, crops=crops * 0, alignment=alignment, feather=0.0, parts=PartLabels(masks, ("hair", "skin"))
    )
    (_, some), _ = run_node("PasteBack", part_names="hair", **options)
    (_, every), _ = run_node("PasteBack", **options)
    assert 0.3 < float((some > 0.5).sum() / (every > 0.5).sum()) < 0.7
    with pytest.raises(InputError, match="no part 'beard'"):
        run_node("PasteBack", part_names="beard", **options)
    with pytest.raises(InputError, match="Both parts and a mask"):
        run_node("PasteBack", mask=masks[0, :1], **options)
    # ... but a mask of the photo may join them.
    run_node("PasteBack", mask=torch.ones(1, 128, 192), mask_covers="the photo", **options)
    with pytest.raises(InputError, match="no parts are connected"):
        run_node("PasteBack", part_names="hair", photos=photo, crops=crops, alignment=alignment)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"photos": torch.zeros(2, 8, 8)}, "expected an IMAGE"),
        ({"method": "magic"}, "expected one of auto"),
        ({"method": "pose"}, "no pose are given"),
        ({"method": "points", "points": "  "}, "no points are given"),
        ({"width": 32}, "both width and height"),
        ({"width": 8, "height": 8}, "at least 16"),
        ({"mask": torch.zeros(1, 8, 8)}, "No face and no area"),
        ({"mask": torch.zeros(3, 8, 8)}, "3 masks for 1 photos"),
        ({"points": "[[1, 2]]"}, "has 1 points"),
        ({"box_format": "polar"}, "box format"),
        ({"border": "wrap"}, "Unknown border"),
        ({"names": "a\nb"}, "2 names for 1 pictures"),
    ],
)
def test_wrong_inputs_are_refused(run_node, inputs, message):
    with pytest.raises(InputError, match=message):
        run_node("AlignCrop", **{"photos": torch.zeros(1, 64, 64, 3), **inputs})


def test_a_stranger_scene_is_refused(run_node):
    with pytest.raises(InputError, match="expected one of pia in the park"):
        run_node("LoadDemoScene", scene="the moon")


def test_both_stop_when_asked(run_node, scene, headless_host):
    photo, points, _, _ = scene
    (crops, alignment, *_), _ = run_node("AlignCrop", photos=photo, points=points, width=32, height=32)
    headless_host.interrupt()
    with pytest.raises(headless_host.stopped):
        run_node("AlignCrop", photos=photo, points=points, width=32, height=32)
    with pytest.raises(headless_host.stopped):
        run_node("PasteBack", photos=photo, crops=crops, alignment=alignment)
    headless_host.resume()
