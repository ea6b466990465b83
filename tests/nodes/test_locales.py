"""Translations are complete, fresh, and say what the English says where that can be seen."""

from __future__ import annotations

import json
import re

import pytest
from semantic_edit.headless.commands.locales import FOLDER, as_text, node_definitions, texts_of, translated
from semantic_edit.nodes import node_classes

ENGLISH = node_definitions(node_classes())
LANGUAGES = sorted(FOLDER.glob("*/texts.json"))
REMEDY = "Translate them in {}, then run `python -m semantic_edit.headless.commands.locales`."

every_language = pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.parent.name)


def read(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_german_and_chinese_are_there():
    assert {"de", "zh"} <= {path.parent.name for path in LANGUAGES}


@every_language
def test_nothing_is_missing(path):
    missing = [text for text in texts_of(ENGLISH) if not read(path).get(text)]
    assert not missing, f"{len(missing)} texts lack a translation, such as {missing[:3]}. {REMEDY.format(path)}"


@every_language
def test_the_file_that_comfyui_reads_is_fresh(path):
    written = (path.parent / "nodeDefs.json").read_text(encoding="utf-8")
    assert written == as_text(translated(ENGLISH, read(path))), (
        "run `python -m semantic_edit.headless.commands.locales`"
    )


@every_language
def test_translations_keep_the_words_that_are_typed(path):
    """Values of lists ("same state: ..."), file names and ids of inputs are the same in every language."""
    texts, wrong = read(path), []
    for english, other in texts.items():
        typed = re.findall(r"(?:models|output)/[\w/]+|\.safetensors|\b[a-z]+_[a-z_0-9]+\b", english)
        wrong += [(word, other) for word in typed if word not in other]
    for node in node_classes():
        for socket in node.GET_SCHEMA().inputs or []:
            choices = [choice for choice in getattr(socket, "options", None) or [] if f"{choice}: " in socket.tooltip]
            wrong += [(choice, texts[socket.tooltip]) for choice in choices if choice not in texts[socket.tooltip]]
    assert not wrong


@every_language
def test_it_is_a_translation(path):
    """Long texts that stayed as they were would be English still."""
    assert not [text for text, other in read(path).items() if text == other and len(text) > 20]
