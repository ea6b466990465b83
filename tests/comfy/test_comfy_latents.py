"""Codes on a real ComfyUI: pictures that carry them, and sentences for what is wrong."""

import pytest
import torch
from PIL import Image
from semantic_edit.models import load_generator, save_generator
from semantic_edit.models.files.latents import extract_latent, write_latent
from semantic_edit.offline.server import ServerError, run_on_server


@pytest.fixture
def generator(base, tiny_network):
    path = save_generator(base / "models" / "semantic_edit" / "generators" / "tiny_http.safetensors", tiny_network)
    return load_generator(path)


def graph(**changes):
    """Draw, blend, generate and save, in API format; `changes` are inputs by node title."""
    nodes = {
        "load": ("LoadGenerator", {"file": "tiny_http.safetensors"}),
        "draw": ("SampleLatents", {"generator": ["load", 0], "count": 3, "seed": 2**64 - 1, "truncation": 0.8,
                                   "truncation_layers": 0, "label": -1}),
        "pick": ("SelectLatents", {"latents": ["draw", 0], "indices": "-1"}),
        "blend": ("BlendLatents", {"a": ["pick", 0], "b": ["draw", 0], "amount": 0.3, "mode": "spherical",
                                   "layers": "coarse", "generator": ["load", 0]}),
        "make": ("GenerateImages", {"generator": ["load", 0], "latents": ["blend", 0], "noise": "seeded",
                                    "noise_seed": 3}),
        "save": ("SaveLatents", {"latents": ["blend", 0], "name": "http/codes", "images": ["make", 0]}),
    }  # fmt: skip
    for title, inputs in changes.items():
        nodes[title][1].update(inputs)
    return {title: {"class_type": f"SemanticEdit{kind}", "inputs": inputs} for title, (kind, inputs) in nodes.items()}


def test_pictures_saved_by_comfyui_carry_codes_that_it_reads_again(comfyui, generator, tmp_path):
    files = run_on_server(comfyui.url, graph(), [], None, tmp_path / "first", print)
    assert len(files) == 3
    stored = extract_latent(files[2])
    assert stored.family == generator.family
    with Image.open(files[2]) as picture:
        assert "prompt" in picture.text  # ComfyUI's own texts are still there
        picture.save(tmp_path / "without.png")
    (comfyui.base / "input" / "carrier.png").write_bytes(files[2].read_bytes())
    again = {
        "load": {"class_type": "SemanticEditLoadGenerator", "inputs": {"file": "tiny_http.safetensors"}},
        "codes": {
            "class_type": "SemanticEditLoadLatents",
            "inputs": {"source": "picture", "file": "", "picture": "carrier.png"},
        },
        "make": {
            "class_type": "SemanticEditGenerateImages",
            "inputs": {"generator": ["load", 0], "latents": ["codes", 0], "noise": "none", "noise_seed": 0},
        },
        "save": {
            "class_type": "SemanticEditSaveLatents",
            "inputs": {"latents": ["codes", 0], "name": "again", "images": ["make", 0]},
        },
    }
    (copy,) = run_on_server(comfyui.url, again, [], None, tmp_path / "second", print)
    assert torch.equal(extract_latent(copy).codes, stored.codes)


WRONG = {
    "positions": ({"pick": {"indices": "7"}}, "indices: there is no 7; use 0 to 2"),
    "rows": ({"blend": {"layers": "0-9"}}, "layers: there is no 9"),
    "mode": ({"blend": {"mode": "cubic"}}, "mode"),
    "file": ({"load": {"file": "../../secret.safetensors"}}, "file|There is no"),
    "name": ({"save": {"name": "../../out"}}, "file name '../../out' cannot be used"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_a_sentence(comfyui, generator, tmp_path, name):
    changes, sentence = WRONG[name]
    with pytest.raises((ServerError, ValueError), match=sentence):
        run_on_server(comfyui.url, graph(**changes), [], None, tmp_path, print)
    assert not list(tmp_path.iterdir())


def test_codes_of_another_generator_are_refused(comfyui, generator, tmp_path):
    folder = comfyui.base / "models" / "semantic_edit" / "latents"
    for name, shape in (("cats", (1, 8, 16)), ("wide", (1, 8, 32))):
        write_latent(folder / f"{name}.safetensors", torch.zeros(shape), ["x"], "cats")
    for name, sentence in (("cats", "family 'cats', but 'tiny_http'"), ("wide", "expects .B, 8, 16.")):
        document = graph()
        file = {"source": "file", "file": f"{name}.safetensors", "picture": ""}
        document["codes"] = {"class_type": "SemanticEditLoadLatents", "inputs": file}
        document["make"]["inputs"]["latents"] = ["codes", 0]
        with pytest.raises(ServerError, match=sentence):
            run_on_server(comfyui.url, document, [], None, tmp_path, print)
