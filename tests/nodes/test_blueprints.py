"""Blueprints: whole jobs as one node; and one's own folder in four nodes and five links."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from semantic_edit.headless.run.catalog import describe, installed_nodes
from semantic_edit.headless.run.runner import Runner
from semantic_edit.headless.workflow.assign import assign
from semantic_edit.headless.workflow.flatten import flatten
from semantic_edit.headless.workflow.virtual import NOTES
from semantic_edit.headless.workflow.widgets import has_widget, input_specs

FOLDER = Path(__file__).resolve().parents[2] / "subgraphs"
FILES = sorted(FOLDER.glob("*.json"))
INFO = describe(installed_nodes())
JOBS = {"Edit one for all", "Edit a real photo", "Paint into a photo", "Text edit", "Bend a photo toward a sentence"}
FROM_FOLDERS = {"file"}  # choices that depend on what is in the folders

every_blueprint = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> tuple[dict, dict, dict]:
    """Return a blueprint's document, its one node, and the definition of that node."""
    document = json.loads(path.read_text(encoding="utf-8"))
    (instance,), (definition,) = document["nodes"], document["definitions"]["subgraphs"]
    return document, instance, definition


def test_the_jobs_are_there():
    assert {path.stem for path in FILES} == JOBS


@every_blueprint
def test_the_one_node_is_named_as_its_file_and_shows_what_its_definition_declares(path):
    document, instance, definition = read(path)
    assert path.stem == definition["name"] == instance["title"] and instance["type"] == definition["id"]
    assert len(definition["description"]) > 20 and not document["links"]
    for side in ("inputs", "outputs"):
        shown = [(socket["name"], socket["type"]) for socket in instance[side]]
        assert shown == [(socket["name"], socket["type"]) for socket in definition[side]]
        assert len({name for name, _ in shown}) == len(shown)
    promoted = [socket["name"] for socket in instance["inputs"] if "widget" in socket]
    # A list of them would be taken for an old one: newer pages then forget values when a workflow is opened again.
    assert "proxyWidgets" not in instance["properties"]
    assert len(instance["widgets_values"]) == len(promoted) <= 10


@every_blueprint
def test_links_and_sockets_name_one_another(path):
    _, _, definition = read(path)
    links = {link["id"]: link for link in definition["links"]}
    nodes = {node["id"]: node for node in definition["nodes"]}
    assert len(links) == len(definition["links"])
    for slot, socket in enumerate(definition["inputs"]):
        assert socket["linkIds"]
        for link_id in socket["linkIds"]:
            assert (links[link_id]["origin_id"], links[link_id]["origin_slot"]) == (-10, slot)
    for slot, socket in enumerate(definition["outputs"]):
        (link_id,) = socket["linkIds"]
        assert (links[link_id]["target_id"], links[link_id]["target_slot"]) == (-20, slot)
    for link in links.values():
        if link["target_id"] != -20:
            target = nodes[link["target_id"]]["inputs"][link["target_slot"]]
            assert target["link"] == link["id"] and target["type"] == link["type"]
        if link["origin_id"] != -10:
            assert link["id"] in nodes[link["origin_id"]]["outputs"][link["origin_slot"]]["links"]


@every_blueprint
def test_nodes_inside_have_the_inputs_and_values_of_today(path):
    document, _, definition = read(path)
    for node in definition["nodes"]:
        specs = list(input_specs(INFO[node["type"]]))
        assert [socket["name"] for socket in node["inputs"]] == [name for name, *_ in specs], node["type"]
    for node_id, node in flatten(document, INFO).items():
        for name, _, kind, options in input_specs(INFO[node["class_type"]]):
            value = node["inputs"].get(name)
            choices = kind if isinstance(kind, list) else options.get("options")
            where = f"node {node_id} ({node['class_type']}).{name}"
            if has_widget(kind, options) and not isinstance(value, list):
                assert value is not None, f"{where} has no value"
            if choices and isinstance(value, str) and name not in FROM_FOLDERS:
                assert value in choices, f"{where}: {value!r}"


def own_folder_job(blueprint: str) -> dict:
    """Build the workflow of one's own folder: Load Generator, Load Image Folder, the blueprint, Save Image."""
    document, edit, _ = read(FOLDER / f"{blueprint}.json")
    names = [socket["name"] for socket in edit["inputs"]]
    wires = [
        (2, 0, 3, "generator"),
        (2, 0, 1, "generator"),
        (3, 0, 1, "photos"),
        (3, 2, 1, "names"),
        (1, 0, 4, "images"),
    ]
    nodes = {
        1: edit,
        2: {"id": 2, "type": "SemanticEditLoadGenerator", "widgets_values": ["demo_portraits.safetensors"]},
        3: {
            "id": 3,
            "type": "SemanticEditLoadImageFolder",
            "widgets_values": ["holiday", "crop", 0, 0, "white", 0, 0],
            "inputs": [{"name": "generator", "type": "GAN_GENERATOR", "link": None}],
        },
        4: {
            "id": 4,
            "type": "SaveImage",
            "widgets_values": ["holiday"],
            "inputs": [{"name": "images", "type": "IMAGE", "link": None}],
        },
    }
    links = []
    for link_id, (source, slot, target, name) in enumerate(wires, 1):
        index = names.index(name) if target == 1 else 0
        nodes[target]["inputs"][index]["link"] = link_id
        links.append([link_id, source, slot, target, index, nodes[target]["inputs"][index]["type"]])
    return {**document, "nodes": list(nodes.values()), "links": links}


def test_ones_own_folder_takes_four_nodes_and_five_links(headless_host):
    holiday = headless_host.input_directory() / "holiday"
    holiday.mkdir()
    photos = Path(__file__).resolve().parents[2] / "demo" / "photos"
    for name, size in (("ada", (200, 150)), ("bo", (90, 170))):
        picture = next(iter(sorted(photos.glob(f"{name}*.png"))), sorted(photos.glob("*.png"))[0])
        Image.open(picture).convert("RGB").resize(size).save(holiday / f"{name}.png")
    job = own_folder_job("Edit one for all")
    assert (len(job["nodes"]), len(job["links"])) == (4, 5)
    runner = Runner(headless_host)
    prompt = runner.prepare(job)
    assert len(prompt.nodes) == 9  # what it stands for, with the loaders and the saver
    assign(prompt, ["Invert Images.steps=3"], describe(runner.nodes))
    result = runner.run(prompt)
    saved = [headless_host.output_directory() / entry["filename"] for entry in result.ui["4"]["images"]]
    assert [Image.open(path).size for path in saved] == [(128, 128)] * 2
    (report,) = result.values["1:4"][2]
    assert "average picture is taken" in report and "ada.png: " in report


def test_the_template_of_ones_own_folder_is_that_graph_with_the_blueprint_of_today():
    template = json.loads((FOLDER.parent / "workflows" / "edit_your_own_folder.json").read_text(encoding="utf-8"))
    document, edit, _ = read(FOLDER / "Edit one for all.json")
    nodes = [node for node in template["nodes"] if node["type"] not in NOTES]
    assert (len(nodes), len(template["links"])) == (4, 5)
    assert {node["type"] for node in nodes} == {
        "SemanticEditLoadGenerator", "SemanticEditLoadImageFolder", edit["type"], "SaveImage"
    }  # fmt: skip
    assert template["definitions"] == document["definitions"]
    # The page of 0.3.64 would give an instance's values to other inputs; without them those inside count everywhere.
    (job,) = [node for node in nodes if node["type"] == edit["type"]]
    assert "widgets_values" not in job


def test_a_value_set_on_the_blueprint_reaches_the_node_inside(headless_host):
    job = own_folder_job("Edit one for all")
    edit = job["nodes"][0]
    names = [socket["name"] for socket in edit["inputs"] if "widget" in socket]
    for name, value in (("edit", "hat.safetensors"), ("strength", -0.5), ("steps", 7)):
        edit["widgets_values"][names.index(name)] = value
    inputs = {node["class_type"]: node["inputs"] for node in Runner(headless_host).prepare(job).nodes.values()}
    assert inputs["SemanticEditLoadDirection"]["file"] == "hat.safetensors"
    assert inputs["SemanticEditComputeStrength"]["strength"] == -0.5
    assert inputs["SemanticEditInvertImages"]["steps"] == 7
