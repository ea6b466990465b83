"""The pair edit nodes on ComfyUI's own objects of small random weights, whatever their networks predict."""


def test_native_models_learn_a_pair_and_stay_as_they_were(run_inside):
    run_inside("pair_inside_comfyui.py", "semantic-edit", seconds=900)
