"""FACE_LANDMARKS of ComfyUI's detector: what is read of them, and the sentences for other things."""

import numpy as np
import pytest
import torch
from semantic_edit.editing.common.face_landmarks import read_face_landmarks
from semantic_edit.models.errors import InputError


def detected_face(**changes):
    """Make a face as core's MediaPipeFaceLandmarker does."""
    points = np.random.default_rng(0).uniform(10, 90, (478, 2)).astype(np.float32)
    return {
        "bbox_xyxy": np.array([10, 10, 90, 90], np.float32),
        "blendshapes": {"jawOpen": 0.25, "mouthSmileLeft": 0.5},
        "landmarks_xy": points,
        "landmarks_3d": np.concatenate([points, points[:, :1]], axis=1),
        "presence": 3.5,
        "score": 0.9,
        "transformation_matrix": np.eye(4, dtype=np.float32),
    } | changes


def landmarks(*frames, size=(100, 120)):
    return {"frames": list(frames), "image_size": size, "connection_sets": {"lips": frozenset({(61, 146)})}}


def test_what_a_face_holds():
    ((face,), none) = read_face_landmarks(landmarks([detected_face()], []), 2, (100, 120))
    assert none == [] and face.points.shape == (478, 2) and face.points_3d.shape == (478, 3)
    assert face.blendshapes == {"jawOpen": 0.25, "mouthSmileLeft": 0.5} and face.score == 0.9
    assert torch.equal(face.pose, torch.eye(4, dtype=torch.float64))


def test_points_of_another_size_are_scaled():
    source = detected_face()
    ((face,),) = read_face_landmarks(landmarks([source]), 1, (200, 60))
    assert torch.allclose(face.points, torch.from_numpy(source["landmarks_xy"]).double() * torch.tensor([0.5, 2.0]))


def test_a_face_of_points_alone():
    ((face,),) = read_face_landmarks({"frames": [[{"landmarks_xy": [[1, 2], [3, 4]]}]]}, 1)
    assert face.points.tolist() == [[1, 2], [3, 4]]
    assert (face.points_3d, face.pose, face.score, face.blendshapes) == (None, None, None, {})


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (None, "Detect Face Landmarks"),
        ([[1, 2]], "Detect Face Landmarks"),
        ({"frames": "none"}, "Detect Face Landmarks"),
        (landmarks([detected_face()], []), "of 2 pictures for 1 pictures"),
        (landmarks([{"points": []}]), "no landmarks_xy"),
        (landmarks([detected_face(landmarks_xy=[[1, 2], [3]])]), "no numbers"),
        (landmarks([detected_face(landmarks_xy=np.zeros(4))]), r"\[4\]; expected \[N, 2\]"),
        (landmarks([detected_face(landmarks_xy=np.full((478, 2), np.nan))]), "not all finite"),
        (landmarks([detected_face(landmarks_3d=np.zeros((5, 3)))]), r"\[5, 3\]; expected \[478, 3\]"),
        (landmarks([detected_face(transformation_matrix=np.zeros((3, 3)))]), r"expected \[4, 4\]"),
        (landmarks([detected_face(blendshapes=[1, 2])]), "names with numbers"),
        (landmarks([detected_face(blendshapes={"jawOpen": float("nan")})]), "'jawOpen' is nan"),
        (landmarks([detected_face()], size=(0, 120)), "image_size"),
        (landmarks([detected_face()], size="large"), "image_size"),
    ],
)
def test_other_things_are_refused(document, sentence):
    with pytest.raises(InputError, match=sentence):
        read_face_landmarks(document, 1, (100, 120))
