"""The epilogue of a StyleGAN2 convolution: low-pass, demodulation, noise, bias, activation, gain, clamp."""

from .fast import Finish, finish_fast
from .gpu import bias_act_gpu, finish_gpu, gpu_suits

__all__ = ["Finish", "bias_act_gpu", "finish_fast", "finish_gpu", "gpu_suits"]
