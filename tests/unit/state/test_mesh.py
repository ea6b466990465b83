"""MediaPipe's mesh as a reader: over a stand-in of the package, and over the package itself where it is installed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from semantic_edit.editing.state import mesh_detector, reader_from_face, with_measured_noise
from semantic_edit.models.errors import InputError


class StandIn:
    """Finds the "face" where a picture is white: its corners are the mesh's points; reads what it was given."""

    asked: list[dict] = []

    def __init__(self, **options):
        StandIn.asked.append(options)

    def process(self, image):
        assert image.dtype.name == "uint8" and image.ndim == 3
        rows, columns = (image.mean(axis=2) > 200).nonzero()
        if not len(rows):
            return SimpleNamespace(multi_face_landmarks=None)
        height, width = image.shape[:2]
        top, bottom, left, right = (*(rows[[0, -1]] / height), columns.min() / width, columns.max() / width)
        points = [SimpleNamespace(x=left, y=top, z=0.1) for _ in range(468)]
        points[33] = points[133] = SimpleNamespace(x=left, y=top, z=0.1)
        points[362] = points[263] = SimpleNamespace(x=right, y=top, z=0.1)
        points[14] = SimpleNamespace(x=left, y=bottom, z=0.1)
        return SimpleNamespace(multi_face_landmarks=[SimpleNamespace(landmark=points)])


@pytest.fixture
def stand_in(monkeypatch):
    StandIn.asked.clear()
    solutions = SimpleNamespace(face_mesh=SimpleNamespace(FaceMesh=StandIn))
    monkeypatch.setitem(sys.modules, "mediapipe", SimpleNamespace(solutions=solutions))


def squares(*heights, width=20):
    pictures = -torch.ones(len(heights), 3, 60, 100)
    for picture, height in zip(pictures, heights, strict=True):
        picture[:, 10 : 10 + height, 30 : 30 + width] = 1
    return pictures


def test_points_come_in_pixels_and_a_picture_may_have_no_face(stand_in):
    detect = mesh_detector(most_faces=2, confidence=0.4, attention=False)
    assert StandIn.asked == [
        {
            "static_image_mode": True, "max_num_faces": 2, "refine_landmarks": False, "min_detection_confidence": 0.4
        }
    ]  # fmt: skip
    (face,), none = detect(squares(15, 0))
    assert none == []
    assert face.points[33].tolist() == pytest.approx([30, 10]) and face.points[14].tolist() == pytest.approx([30, 24])
    assert face.points_3d[14].tolist() == pytest.approx([30, 24, 10])


def test_a_reader_over_the_mesh_reads_distances_and_explains(stand_in):
    reader = reader_from_face(mesh_detector(), ["mouth open"])
    pictures = squares(5, 10, 20, 0)
    readings = reader.read(pictures)[:, 0]
    assert readings[:3].tolist() == pytest.approx([4 / 19, 9 / 19, 19 / 19])
    assert readings[3].isnan() and reader.explain(pictures)[3] == "it shows no face"


def test_without_the_package_or_its_mesh_a_sentence_says_what_to_install(monkeypatch):
    for module in (None, SimpleNamespace(__version__="1.0")):
        monkeypatch.setitem(sys.modules, "mediapipe", module)
        with pytest.raises(InputError, match="pip install mediapipe==0.10.14"):
            mesh_detector()


def test_wrong_settings_are_sentences(stand_in):
    for options in ({"most_faces": 0}, {"confidence": 2.0}):
        with pytest.raises(InputError, match="Faces are 1 or more"):
            mesh_detector(**options)


def test_the_package_itself_reads_a_real_face():
    pytest.importorskip("mediapipe")
    data = pytest.importorskip("skimage.data")
    photo = torch.from_numpy(data.astronaut()).float().movedim(2, 0)[None] / 127.5 - 1
    detect = mesh_detector()
    ((face,),) = detect(photo)
    assert face.points.shape == (478, 2)
    assert 180 < float(face.points[:, 0].mean()) < 270 and 70 < float(face.points[:, 1].mean()) < 170
    reader = reader_from_face(detect, ["smile", "mouth open", "turn"])
    mirrored = reader.read(torch.cat([photo, photo.flip(3)]))
    assert mirrored[0, 0] == pytest.approx(float(mirrored[1, 0]), abs=0.06)
    assert mirrored[0, 2] == pytest.approx(-float(mirrored[1, 2]), abs=4.0)
    noisy = with_measured_noise(reader.select(["smile"]), photo)
    assert 0 < float(noisy.noise[0]) < 0.1
    ((none),) = detect(torch.zeros(1, 3, 64, 64))
    assert none == []
