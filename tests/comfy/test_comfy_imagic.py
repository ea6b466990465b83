"""The Imagic nodes on ComfyUI's own objects of small random weights.

SD 1.5, its inpainting (9 channels) and pix2pix (8), SD 2 (v), a flow, SDXL, SD3, Flux, Flux.2, Qwen-Image, Z-Image and
HiDream, as far as the core knows them; weights of eight bits and quantised ones; texts of unequal length.
"""


def test_native_models_are_tuned_and_stay_as_they_were(run_inside):
    run_inside("imagic_inside_comfyui.py", "semantic-edit", seconds=2400)
