"""Gradients through networks that were written for sampling alone: what bends autograd, in one place.

Why. Hosts run networks that nobody meant to train: they overwrite their own activations (``x += y``), know no gradient
checkpointing, and say nothing of the memory a backward pass needs. Imagic has to train them as they are, without
writing to the user's model. Three modules make that possible, each by a hook that is taken off afterwards:

`out_of_place`   augmented assignments make new tensors. It reads the bytecode of the calling frame.
`checkpointing`  blocks are recomputed on the way back. It puts ``forward`` on instances, over the class's method.
`memory`         the bytes of a graph are counted before the work starts. It watches what autograd saves.

What would break them, and which test notices (tests/unit/common, tests/unit/imagic):

Python: `out_of_place` knows an augmented assignment by its instruction: ``INPLACE_*`` in 3.10, ``BINARY_OP`` with an
argument of `dis`'s in-place operators from 3.11 on. A release that renames or renumbers them, or an interpreter whose
``frame.f_lasti`` does not point at the running instruction (some tracers, compiled code: ``torch.compile``, Cython),
makes assignments overwrite again. test_out_of_place.py: `test_this_pythons_...` and
`test_only_assignments_make_new_tensors`.

torch: `out_of_place` expects ``x += y`` to reach ``Tensor.add_`` through ``TorchFunctionMode`` with the assigning frame
as the caller of ``__torch_function__``; a Python layer in between would hide it (`test_this_torchs_modes_...`).
`check_gradient` knows the failure by "inplace operation" in autograd's error. `checkpointing` relies on
``use_reentrant=False``, whose recomputation may run on another thread, so each block enters the mode by itself.
`memory` relies on ``saved_tensors_hooks`` being called for every saved tensor but the leaves' own.
test_out_of_place.py, test_imagic_stages.py and test_graph_memory.py compare gradients and bytes with those of a network
that makes new tensors.

Networks: a block is taken to be the largest module without a list of modules in it; one whose ``forward`` is an
attribute of the instance already is left alone. Nothing here changes what a network computes, only what it keeps.
"""
