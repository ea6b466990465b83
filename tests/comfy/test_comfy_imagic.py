"""The Imagic nodes on ComfyUI's own objects of small random weights: epsilon, velocity, flow, SDXL's pooled output."""


def test_native_models_are_tuned_and_stay_as_they_were(run_inside):
    run_inside("imagic_inside_comfyui.py", "semantic-edit", seconds=900)
