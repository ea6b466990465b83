"""Kernels, the lowest floor: the hot tensor operations, a plain reference beside each fast path; select.py chooses."""

from .bias_act import ACTIVATIONS, bias_act
from .blend import blend_features
from .filtered_lrelu import filtered_lrelu, jinc_lowpass, kaiser_lowpass
from .measured import choices
from .modulated_conv import PreparedWeight, demodulation, modulated_conv2d
from .select import chosen_path, use_kernels
from .spare_cores import sharing_cores
from .upfirdn2d import setup_filter, upfirdn2d, upsample2d

__all__ = [
    "ACTIVATIONS",
    "PreparedWeight",
    "bias_act",
    "blend_features",
    "choices",
    "chosen_path",
    "demodulation",
    "filtered_lrelu",
    "jinc_lowpass",
    "kaiser_lowpass",
    "modulated_conv2d",
    "setup_filter",
    "sharing_cores",
    "upfirdn2d",
    "upsample2d",
    "use_kernels",
]
