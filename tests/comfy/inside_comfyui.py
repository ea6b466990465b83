"""Runs inside ComfyUI's Python, without its server: loads the pack as ComfyUI does and tries ComfyUI as the host.

Not collected by pytest; test_comfy_inside.py starts it. The last line it writes is "all good".
"""

import asyncio
import copy
import gc
import importlib.util
import sys
import time
from pathlib import Path

checkout, pack, base = sys.argv.pop(1), Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
sys.path.insert(0, checkout)
sys.argv += ["--cpu", "--base-directory", str(base)]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.model_management  # noqa: E402
import comfy.utils  # noqa: E402
import folder_paths  # noqa: E402
import torch  # noqa: E402

import nodes as comfy_nodes  # noqa: E402

# As extra_model_paths.yaml does, before any custom node loads; and another pack's own choice of extensions.
elsewhere = base / "elsewhere"
elsewhere.mkdir()
(elsewhere / "far.safetensors").touch()
(elsewhere / "far.pt").touch()
folder_paths.add_model_folder_path("semantic_edit_generators", str(elsewhere))
folder_paths.folder_names_and_paths["semantic_edit_scorers"] = ([str(elsewhere)], {".bin"})

spec = importlib.util.spec_from_file_location(str(pack).replace(".", "_x_"), pack / "__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
assert not hasattr(module, "NODE_CLASS_MAPPINGS")
assert module.WEB_DIRECTORY == "./web"
extension = asyncio.run(module.comfy_entrypoint())
node_list = asyncio.run(extension.get_node_list())
assert len({node.GET_SCHEMA().node_id for node in node_list}) == len(node_list) > 5
assert sys.modules["nodes"] is comfy_nodes  # nothing of ours shadows ComfyUI's modules

host = module.host
comfyui = host.current()
assert (comfyui.device(), comfyui.result_device()) == (torch.device("cpu"),) * 2

# Folders: ours behind what was there; only safetensors are listed; other packs' entries stay.
folder = base / "models" / "semantic_edit" / "generators" / "set"
folder.mkdir(parents=True)
(folder / "near.safetensors").touch()
(folder / "near.pkl").touch()
names = comfyui.list_models("generators")
assert {"far.safetensors", str(Path("set/near.safetensors"))} <= set(names), names
assert all(name.endswith(".safetensors") for name in names)
assert folder_paths.get_folder_paths("semantic_edit_generators")[0] == str(elsewhere)
assert folder_paths.folder_names_and_paths["semantic_edit_scorers"][1] == {".bin"}
assert comfyui.model_path("generators", "far.safetensors") == elsewhere / "far.safetensors"
(base / "models" / "secret.safetensors").touch()
for name in ("gone.safetensors", "../../secret.safetensors", str(base / "models" / "secret.safetensors"), "far.pt", ""):
    try:
        comfyui.model_path("generators", name)
    except ValueError as error:
        assert "There is no file" in str(error) and "far.safetensors" in str(error), error
    else:
        raise AssertionError(f"{name} was found")

# New files: numbered, below the output folder, and listed at once.
path = comfyui.save_path("directions", "set/smile")
assert path == base / "output" / "semantic_edit" / "directions" / "set" / "smile_00001_.safetensors", path
path.touch()
assert str(Path("set/smile_00001_.safetensors")) in comfyui.list_models("directions")
assert comfyui.model_path("directions", str(Path("set/smile_00001_.safetensors"))) == path
assert comfyui.save_path("directions", "set/smile").name == "smile_00002_.safetensors"
for name in ("../../x", "/x", "", "a/../../b"):
    try:
        comfyui.save_path("directions", name)
    except ValueError as error:
        assert "cannot be used" in str(error)
    else:
        raise AssertionError(f"{name!r} was accepted")

# Memory: a network placed under inference mode keeps normal weights, its copies are placed on their own.
network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)).requires_grad_(False)
with torch.inference_mode():
    for _ in range(3):
        comfyui.place(network)
    assert len(comfy.model_management.current_loaded_models) == 1
    twin = copy.deepcopy(network)
    comfyui.place(twin)
    assert len(comfy.model_management.current_loaded_models) == 2
    assert not any(tensor.is_inference() for tensor in network.state_dict().values())
assert set(network.state_dict()) == set(twin.state_dict()) and "device" not in vars(network)
comfy.model_management.unload_all_models()
assert comfy.model_management.current_loaded_models == []
comfyui.place(network, twin)  # together, so that neither pushes the other out
assert len(comfy.model_management.current_loaded_models) == 2
network(torch.zeros(2, 3))
del network, twin
gc.collect()
comfy.model_management.cleanup_models_gc()
assert comfy.model_management.current_loaded_models == []  # gone with the network, nothing keeps it alive

# Progress: steps and previews reach ComfyUI's hook, and its interruption comes through.
calls = []
comfy.utils.set_progress_bar_global_hook(lambda *step, node_id=None: calls.append(step))
report = comfyui.progress(1, "done at once")
report(1, 1, torch.rand(3, 8, 6))
assert calls == [(0, 1, None), (1, 1, None)]  # no preview of work that takes less than a second
calls.clear()
host.comfyui.PREVIEW_AFTER, host.comfyui.PREVIEW_SECONDS = 0, 1000  # however slow this machine is
report = comfyui.progress(3, "steps")
assert calls == [(0, 3, None)]  # the bar is there before the first step
calls.clear()
time.sleep(0.2)  # newer cores drop steps that follow within a tenth of a second
report(1, 3, torch.rand(3, 8, 6))
time.sleep(0.2)
report(2, 3, torch.rand(8, 6, 3))  # too soon after the first for another preview
report(3, 3, torch.full((1, 8, 6, 3), 0.5))
assert [step[:2] for step in calls] == [(1, 3), (2, 3), (3, 3)]
kind, picture, size = calls[0][2]
assert (kind, size, picture.size, picture.mode) == ("JPEG", 512, (6, 8), "RGB")
assert calls[1][2] is None and calls[2][2][1].getpixel((0, 0)) == (128, 128, 128)
comfy.model_management.interrupt_current_processing()
try:
    report(3, 3)
except comfy.model_management.InterruptProcessingException:
    comfy.model_management.interrupt_current_processing(False)
else:
    raise AssertionError("the interruption did not come through")
comfyui.check_interrupt()
sys.stdout.write("all good\n")
