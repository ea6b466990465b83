"""Lists in a real ComfyUI: any editor draws every picture at its own strength, with the same result as without it."""

import hashlib
import json
from pathlib import Path

from PIL import Image
from semantic_edit.offline.server import run_on_server

PREFIX = "SemanticEdit"


def graph():
    """Photos that core's Blend Images brightens until all are equally bright, planned twice; strengths steadied."""
    edit = {"blend_mode": "screen"}
    reader, number = ["read", 0], {"aim": "number", "target": 0.62, "reading": ""}
    nodes = {
        "photos": (f"{PREFIX}LoadDemoPhotos", {"photo": "all", "first": 0, "limit": 4, "size": 64}),
        "read": (f"{PREFIX}ReadFromMask", {"measure": "brightness", "region": "whole picture", "part": "-"}),
        "probe": (f"{PREFIX}ProbeStrengths", {"pictures": ["photos", 0], "strengths": "0, 0.5, 1"}),
        "edit 1": (
            "ImageBlend", {"image1": ["probe", 0], "image2": ["probe", 0], "blend_factor": ["probe", 1], **edit}
        ),
        "plan 1": (
            f"{PREFIX}PlanStrengths",
            {"strengths": ["probe", 1], "pictures": ["edit 1", 0], "reader": reader, "photos": ["photos", 0], **number},
        ),
        "edit 2": (
            "ImageBlend", {"image1": ["plan 1", 4], "image2": ["plan 1", 4], "blend_factor": ["plan 1", 0], **edit}
        ),
        "plan 2": (
            f"{PREFIX}PlanStrengths",
            {
                "strengths": ["plan 1", 0], "pictures": ["edit 2", 0], "reader": reader, "photos": ["photos", 0],
                "earlier": ["plan 1", 3], **number,
            },
        ),
        "steady": (
            f"{PREFIX}SmoothFrames", {"mode": "smooth", "frames": 1.0, "rows": "all", "strengths": ["plan 2", 0]}
        ),
        "edit 3": (
            "ImageBlend", {"image1": ["plan 2", 4], "image2": ["plan 2", 4], "blend_factor": ["plan 2", 0], **edit}
        ),
        "measure": (
            f"{PREFIX}MeasureState",
            {
                "pictures": ["edit 3", 0], "reader": reader, "reading": "", "before": ["photos", 0],
                "target": ["plan 2", 5],
            },
        ),
        "number": ("PreviewAny", {"source": ["measure", 0]}),
        "smooth": ("PreviewAny", {"source": ["steady", 0]}),
        "report": ("PreviewAny", {"source": ["plan 2", 2]}),
        "save": ("SaveImage", {"images": ["measure", 3], "filename_prefix": "state/one"}),
        "plot": ("SaveImage", {"images": ["plan 2", 1], "filename_prefix": "state/plot"}),
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def fingerprints(paths):
    found = []
    for path in paths:
        with Image.open(path) as picture:
            found.append((picture.size, hashlib.sha256(picture.tobytes()).hexdigest()))
    return sorted(found)


def test_any_editor_by_lists(comfyui, run_headless, tmp_path):
    texts = []
    over_http = run_on_server(comfyui.url, graph(), [], None, tmp_path / "http", texts.append)
    (tmp_path / "graph.json").write_text(json.dumps(graph()))
    done = run_headless("run", tmp_path / "graph.json", "--output", tmp_path / "headless")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    saved = [Path(line) for line in lines if line.endswith(".png")]
    assert fingerprints(over_http) == fingerprints(saved) and len(saved) == 5
    numbers = [float(line.rpartition(" ")[2]) for line in texts if "#number" in line]
    assert len(numbers) == 4 and max(abs(number - 0.62) for number in numbers) < 0.03
    told = [line for text in texts for line in text.splitlines()]
    assert sorted(told) == sorted(line for line in lines if not line.endswith(".png"))


def test_sockets_of_comfyuis_own_detector_and_clip_vision_bear_their_names(comfyui):
    real = comfyui.get("/object_info")
    example, face = (real[f"{PREFIX}ReadFrom{name}"]["input"]["optional"] for name in ("Example", "Face"))
    assert example["clip_vision"][0] == real["CLIPVisionLoader"]["output"][0]
    if "MediaPipeFaceLandmarker" in real:
        assert face["landmarks"][0] == real["MediaPipeFaceLandmarker"]["output"][0]
        assert face["detector"][0] == real["LoadMediaPipeFaceLandmarker"]["output"][0]


def test_native_models_read_with_their_own_middle(run_inside):
    run_inside("state_inside_comfyui.py", "semantic-edit", seconds=900)
