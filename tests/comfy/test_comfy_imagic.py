"""The Imagic nodes on ComfyUI's own objects of small random weights: epsilon, velocity, flow, SDXL's pooled output."""

import os
import subprocess
import sys
from pathlib import Path


def test_native_models_are_tuned_and_stay_as_they_were(tmp_path, environment):
    pack = tmp_path / "custom_nodes" / "semantic-edit"
    pack.parent.mkdir()
    (tmp_path / "base").mkdir()
    pack.symlink_to(Path(__file__).resolve().parents[2], target_is_directory=True)
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    script = Path(__file__).with_name("imagic_inside_comfyui.py")
    command = [python, str(script), os.environ["COMFYUI_PATH"], str(pack), str(tmp_path / "base")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0 and done.stdout.endswith("all good\n"), done.stderr[-4000:]
