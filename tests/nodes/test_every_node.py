"""What every node of the pack promises: its id, its place, its texts, its help page, its locale entry."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from semantic_edit.headless.commands.locales import ENGLISH, FOLDER, as_text, node_definitions
from semantic_edit.nodes import node_classes

STAGES = ("generator", "photos", "example", "batch", "text", "paint", "imagic", "pair", "state", "demo")
ROOT = Path(__file__).resolve().parents[2]
HELP = ROOT / "web" / "docs"
NODES = {node.GET_SCHEMA().node_id: node for node in node_classes()}
# What the section with the graph is called on the help pages of each language.
GRAPH = {"en": "In a graph", "de": "In einem Graphen", "zh": "在工作流中"}
TEXTS = {language: json.loads((FOLDER / language / "nodeDefs.json").read_text(encoding="utf-8")) for language in GRAPH}
NAMES = {
    language: {node_id: node["display_name"] for node_id, node in nodes.items()} for language, nodes in TEXTS.items()
}

every_node = pytest.mark.parametrize("node_id", sorted(NODES))
every_language = pytest.mark.parametrize("language", GRAPH)
every_translation = pytest.mark.parametrize("language", [language for language in GRAPH if language != "en"])


def sockets(node_id: str) -> tuple[list, list]:
    schema = NODES[node_id].GET_SCHEMA()
    return list(schema.inputs or []), list(schema.outputs or [])


def test_there_are_nodes_of_the_generator_stage():
    assert {"SemanticEditLoadGenerator", "SemanticEditGenerateImages"} <= set(NODES)


@every_node
def test_id_name_and_place(node_id):
    schema = NODES[node_id].GET_SCHEMA()
    assert re.fullmatch(r"SemanticEdit([A-Z][a-z0-9]+)+", node_id)
    assert schema.category.split("/")[0] == "Semantic Edit" and schema.category.split("/")[1] in STAGES
    assert schema.display_name and "Semantic" not in schema.display_name
    assert node_id == "SemanticEdit" + schema.display_name.replace(" ", "")


@every_node
def test_description_is_a_sentence(node_id):
    description = NODES[node_id].GET_SCHEMA().description
    assert len(description) >= 20 and description[0].isupper() and description.endswith(".")


@every_node
def test_every_socket_has_a_tooltip(node_id):
    inputs, outputs = sockets(node_id)
    bare = [socket.id for socket in (*inputs, *outputs) if not (socket.tooltip and len(socket.tooltip) >= 10)]
    assert not bare, f"without a tooltip: {bare}"


@every_node
def test_every_output_is_shown_by_its_name(node_id):
    """Without a display name ComfyUI shows the type: two outputs that are both called GAN_LATENT."""
    assert all(socket.display_name for socket in sockets(node_id)[1])


@every_node
def test_defaults_are_among_the_choices_and_in_range(node_id):
    for socket in sockets(node_id)[0]:
        options = socket.as_dict()
        if socket.get_io_type() == "COMBO":
            assert options["options"], f"{socket.id} offers nothing"
            assert options.get("default", options["options"][0]) in options["options"]
        elif socket.get_io_type() in ("INT", "FLOAT") and not options.get("forceInput"):  # those have no widget
            assert options["min"] <= options["default"] <= options["max"], f"{socket.id}: default out of range"


def help_page(node_id: str, language: str) -> str:
    name = f"{node_id}.md" if language == "en" else f"{node_id}/{language}.md"  # where ComfyUI looks for it
    assert (HELP / name).is_file(), f"missing: web/docs/{name}"
    return (HELP / name).read_text(encoding="utf-8")


def pictures(text: str) -> list[str]:
    return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)


@every_language
@every_node
def test_help_page_names_every_socket(node_id, language):
    text = help_page(node_id, language)
    assert text.startswith(f"# {NAMES[language][node_id]}\n")
    inputs, outputs = sockets(node_id)
    names = [socket.id for socket in inputs] + [socket.display_name or socket.id for socket in outputs]
    missing = [name for name in names if f"`{name}`" not in text]
    assert not missing, f"the help page of {node_id} ({language}) does not explain {missing}"


@every_language
@every_node
def test_help_page_says_what_an_input_is_called_on_the_node(node_id, language):
    """Where that is not its id."""
    text = help_page(node_id, language)
    shown = {key: socket["name"] for key, socket in TEXTS[language][node_id].get("inputs", {}).items()}
    missing = [name for key, name in shown.items() if name != key and name not in text]
    assert not missing, f"the help page of {node_id} ({language}) does not say {missing}"


@every_language
@every_node
def test_help_page_shows_a_graph_and_its_pictures_exist(node_id, language):
    text, title = help_page(node_id, language), GRAPH[language]
    graph = text.split(f"## {title}\n", 1)
    assert len(graph) == 2, f"{node_id} ({language}) has no section '{title}': say which nodes stand before and after"
    assert f"**{NAMES[language][node_id]}**" in graph[1]
    for picture in pictures(text):  # in every language they are looked for in web/docs
        assert (HELP / picture).is_file(), f"{node_id} ({language}) shows {picture}, which is not in web/docs"


@every_translation
@every_node
def test_translated_help_page_has_the_rows_titles_and_pictures_of_the_english_one(node_id, language):
    english, other = help_page(node_id, "en"), help_page(node_id, language)
    assert pictures(other) == pictures(english)
    marks = [re.findall(r"^(?:#+ |\||```|    \S)", text, re.MULTILINE) for text in (english, other)]
    assert marks[0] == marks[1], "other titles, rows of tables or examples than the English page"


def test_no_help_page_is_left_over():
    assert {page.stem for page in HELP.glob("SemanticEdit*.md")} <= set(NODES)
    assert {page.parent.name for page in HELP.glob("*/*")} <= set(NODES)
    assert {page.stem for page in HELP.glob("*/*")} <= set(GRAPH)


def test_locale_file_is_fresh():
    written = json.loads(ENGLISH.read_text(encoding="utf-8"))
    current = node_definitions(NODES.values())
    stale = [node_id for node_id in {*written, *current} if written.get(node_id) != current.get(node_id)]
    assert not stale, f"stale: {sorted(stale)}; run python -m semantic_edit.headless.commands.locales"
    assert ENGLISH.read_text(encoding="utf-8") == as_text(current)
