"""The host's ComfyUI side against ComfyUI's own modules, in a process of its own and a folder with an awkward name."""

import os
import subprocess
import sys
from pathlib import Path


def test_the_comfyui_side_works_under_any_folder_name(tmp_path, environment):
    pack = tmp_path / "custom_nodes" / "my nodes, v2.0 (new)"
    pack.parent.mkdir()
    (tmp_path / "base").mkdir()
    pack.symlink_to(Path(__file__).resolve().parents[2], target_is_directory=True)
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    script = Path(__file__).with_name("inside_comfyui.py")
    command = [python, str(script), os.environ["COMFYUI_PATH"], str(pack), str(tmp_path / "base")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stdout.endswith("all good\n"), done.stderr[-4000:]
