"""Load Image Folder with 'aligned': faces of a folder, upright and in the generator's size, by a connected detector."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from semantic_edit.models.errors import InputError
from semantic_edit.nodes.photos.load_image_folder import LoadImageFolder


class Detector:
    """What ComfyUI's FACE_DETECTION_MODEL offers, for photos whose faces are known."""

    def __init__(self, faces):
        self.faces, self.asked = faces, []

    def detect_batch(self, images, num_faces, score_thresh, variant):
        (pixels,) = images
        assert pixels.dtype == np.uint8 and pixels.ndim == 3
        self.asked.append(variant)
        faces = self.faces.get((pixels.shape[1], pixels.shape[0]), [])
        return [[{"landmarks_xy": mesh(face), "score": 0.9} for face in faces]]


def mesh(points):
    eye_left, eye_right, _, mouth_left, mouth_right = points
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[[33, 133]], landmarks[[263, 362]] = eye_left, eye_right
    landmarks[61], landmarks[291] = mouth_left, mouth_right
    return landmarks


@pytest.fixture
def album(run_node, headless_host):
    """Two photos in input/album, a scene with three faces and one with none, and the detector that knows them."""
    (photo, points, *_), _ = run_node("LoadDemoScene", scene="three at the fence", height=128)
    folder = headless_host.input_directory() / "album"
    folder.mkdir()
    Image.fromarray(photo[0].mul(255).round().byte().numpy()).save(folder / "fence.png")
    Image.new("RGB", (90, 60), (10, 120, 30)).save(folder / "lawn.png")
    return Detector({(192, 128): json.loads(points)}), photo, json.loads(points)


def test_the_largest_face_as_align_crop_cuts_it(run_node, album, tiny_generator):
    detector, photo, points = album
    inputs = {"folder": "album", "fit": "aligned", "generator": tiny_generator, "framing": "demo portraits"}
    (images, masks, names, report), _ = run_node("LoadImageFolder", face_detector=detector, **inputs)
    options = {"photos": photo, "points": json.dumps(points), "framing": "demo portraits", "generator": tiny_generator}
    (crops, _, _, inside, _), _ = run_node("AlignCrop", **options)
    assert images.shape == (2, 32, 32, 3) and names.splitlines() == ["fence.png", "lawn.png"]
    assert (images[0] - crops[0]).abs().max() < 0.02, "as Align Crop does, but for the file's 8 bits"
    assert torch.equal(masks[0], 1 - inside[0])
    assert torch.allclose(images[1], torch.tensor([10, 120, 30]) / 255, atol=1e-3) and not masks[1].any()
    assert report.splitlines()[1:] == ["lawn.png: no whole face was found, and its middle was taken"]
    assert detector.asked == ["short", "short", "full"], "far faces are looked for where there are no near ones"


def test_faces_cut_off_by_the_border_and_transparent_photos(run_node, album, headless_host):
    detector, photo, points = album
    cut_off = [[x - 500, y] for x, y in points[0]]
    detector.faces[(192, 128)] = [cut_off, points[1]]
    folder = headless_host.input_directory() / "album"
    picture = Image.open(folder / "fence.png").convert("RGBA")
    picture.putalpha(128)
    picture.save(folder / "fence.png")
    inputs = {"folder": "album", "fit": "aligned", "width": 48, "height": 64, "limit": 1}
    (images, masks, _, report), _ = run_node("LoadImageFolder", face_detector=detector, **inputs)
    assert images.shape == (1, 64, 48, 3) and "middle" not in report
    assert masks.amin() == pytest.approx(1 - 128 / 255, abs=0.02)


def test_what_is_missing_is_named(run_node, album, tiny_generator):
    detector, *_ = album
    for inputs, sentence in (
        ({"generator": tiny_generator}, "needs a face detector: connect .*face_detector"),
        ({"face_detector": detector}, "needs a size"),
        ({"face_detector": 5, "generator": tiny_generator}, "The face detector is a int"),
        ({"face_detector": detector, "generator": tiny_generator, "framing": "x"}, "Unknown framing 'x'"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_node("LoadImageFolder", folder="album", fit="aligned", **inputs)


def test_the_photos_of_the_pack_are_a_folder_too(run_node, tiny_generator):
    assert "(demo photos)" in LoadImageFolder.define_schema().inputs[0].options
    (images, *_), _ = run_node("LoadImageFolder", folder="(demo photos)", limit=2, generator=tiny_generator)
    assert images.shape == (2, 32, 32, 3)
