"""Listing folders: trees deeper than Python's stack, links in circles, names that no file can have."""

import os

import pytest
from semantic_edit.headless.core_nodes import diffusers_folders
from semantic_edit.host.files import file_below, folders_below, model_files_below, safe_name
from semantic_edit.models.errors import InputError

DEEP = 1500


@pytest.fixture
def deep_tree(tmp_path):
    """1,500 folders below each other, with a model file in the last one; removed again without recursion."""
    before = os.getcwd()
    os.chdir(tmp_path)
    for _ in range(DEEP):
        os.mkdir("d")
        os.chdir("d")
    open("deep.safetensors", "w").close()
    os.chdir(before)
    yield tmp_path
    os.chdir(tmp_path)
    for _ in range(DEEP):
        os.chdir("d")
    os.remove("deep.safetensors")
    for _ in range(DEEP):
        os.chdir("..")
        os.rmdir("d")
    os.chdir(before)


def test_deep_trees_are_listed(headless_host, deep_tree):
    headless_host.settings.input = headless_host.settings.models = deep_tree
    names = [name for name in headless_host.input_subfolders() if name.startswith("d")]
    assert names == ["/".join(["d"] * depth) for depth in range(1, DEEP + 1)]
    assert list(model_files_below(deep_tree)) == ["d/" * DEEP + "deep.safetensors"]


def test_a_tree_with_longer_paths_than_the_system_takes_ends_there(tmp_path, headless_host):
    headless_host.settings.input = tmp_path / "tree"
    (tmp_path / "tree").mkdir()
    before, name, count = os.getcwd(), "n" * 200, 30
    os.chdir(tmp_path / "tree")
    for _ in range(count):
        os.mkdir(name)
        os.chdir(name)
    os.chdir(before)
    names = headless_host.input_subfolders()
    assert 15 < len(names) < count
    assert names[0] == name


def test_linked_folders_are_listed_but_not_entered(tmp_path, headless_host):
    inner = tmp_path / "input" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "round").symlink_to(tmp_path / "input")
    assert headless_host.input_subfolders() == ["a", "a/b", "a/b/round"]


def test_where_links_are_followed_circles_end(tmp_path, headless_host):
    model = tmp_path / "elsewhere" / "sd"
    model.mkdir(parents=True)
    (model / "model_index.json").write_text("{}")
    top = tmp_path / "models" / "checkpoints"
    top.mkdir()
    for name in ("one", "two"):
        (top / name).symlink_to(top)
    (top / "linked").symlink_to(model)
    assert diffusers_folders.folders("checkpoints") == ["linked"]


def test_what_the_caller_takes_out_is_not_entered(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.txt").touch()
    seen = []
    for name, folders, files in folders_below(tmp_path):
        folders[:] = [folder for folder in sorted(folders) if folder != "a"]
        seen.append((name, files))
    assert seen == [("", []), ("c", ["x.txt"])]


@pytest.mark.parametrize("name", ["", "..", "../x.png", "/etc/passwd", "a\0.png", "\ud800.png", "x" * 300, "y/" * 3000])
def test_names_that_stand_for_no_file_below(tmp_path, name):
    (tmp_path / "x.png").touch()
    (tmp_path / "in").mkdir()
    assert file_below(tmp_path / "in", name) is None


def test_either_separator_names_a_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").touch()
    assert file_below(tmp_path, "a\\x.png") == file_below(tmp_path, "a/x.png") == (tmp_path / "a" / "x.png").resolve()
    assert file_below(tmp_path, "a\\..\\..\\x.png") is None


def test_half_a_character_is_no_name():
    with pytest.raises(InputError, match="half a character"):
        safe_name("a\ud800")
