"""The host's ComfyUI side against ComfyUI's own modules, in a process of its own and a folder with an awkward name."""


def test_the_comfyui_side_works_under_any_folder_name(run_inside):
    run_inside("inside_comfyui.py", "my nodes, v2.0 (new)", seconds=600)
