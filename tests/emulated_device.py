"""A device without hardware: ordinary tensors that count as lying on "mps", and the rules of such a device.

Inside `with EmulatedDevice():` whatever is moved or made there counts as there, and so does all that comes of it. What
a real device refuses is refused: float64, operations between tensors of both sides (a number in a tensor of no
dimensions may come from the CPU), generators of random numbers of the other side, and numpy. Which single operations
Apple's devices lack is not known here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

THERE, HERE = torch.device("mps"), torch.device("cpu")
_MARK = "_lies_on_emulated_device"
# Between the two sides on purpose: copies, and places in a tensor that are given from the CPU.
_MAY_MIX = {"copy_", "__getitem__", "__setitem__", "__set__", "_has_compatible_shallow_copy_type"}


class EmulatedDevice(TorchFunctionMode):
    """See the module. `moves` counts the tensors that went there, so that a test can tell that something did."""

    def __init__(self) -> None:
        super().__init__()
        self.moves = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func == Tensor.device.__get__:
            return THERE if is_there(args[0]) else func(*args)  # "meta" is a third one
        if func == Tensor.data.__set__:
            func(*args)
            return mark(args[0], is_there(args[1]))
        if func == Tensor.is_mps.__get__:
            return is_there(args[0])
        if func in (Tensor.numpy, Tensor.__array__) and is_there(args[0]):
            raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() first")
        target, args, kwargs = _target(func, args, kwargs)
        given = list(_tensors((args, kwargs)))
        there = [tensor for tensor in given if is_there(tensor)]
        if there and name not in _MAY_MIX and target is None:
            for tensor in given:
                if not is_there(tensor) and tensor.ndim > 0:
                    raise RuntimeError(f"{name}: expected all tensors to be on the same device, mps:0 and cpu")
        if name == "__getitem__" and not is_there(args[0]) and there:
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        after = bool(there) if target is None else target == THERE
        generator = kwargs.get("generator")
        if isinstance(generator, torch.Generator) and after:
            raise RuntimeError(f"{name}: expected a 'mps' device type for generator but found 'cpu'")
        found = func(*args, **kwargs)
        for tensor in _tensors(found):
            if target is not None and any(tensor is each for each in given) and is_there(tensor) != after:
                found = tensor = tensor.clone()  # a move between devices is a copy
            if after and tensor.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"{name}: the device has no {tensor.dtype}")
            self.moves += after and not is_there(tensor) and target is not None
            if not (name.endswith("_") and args and tensor is args[0]):
                mark(tensor, after)
        return found


def is_there(tensor: Tensor) -> bool:
    return getattr(tensor, _MARK, False)


def mark(tensor: Tensor, there: bool) -> None:
    with torch._C.DisableTorchFunctionSubclass():
        setattr(tensor, _MARK, there)


def _target(func, args, kwargs):
    """The device that a call asks for, None where it names none; and the call without it."""
    if func is Tensor.cpu:
        return HERE, args, kwargs
    if func in (Tensor.type_as,):
        return (THERE if is_there(args[1]) else HERE), args, kwargs
    target = None
    if "device" in kwargs and kwargs["device"] is not None:
        target = torch.device(kwargs["device"])
        if target.type == "meta":  # sizes without memory, which libraries build networks on before they fill them
            return None, args, kwargs
        kwargs["device"] = HERE
    if func is Tensor.to:
        plain = []
        for argument in args[1:]:
            if isinstance(argument, Tensor):
                target = THERE if is_there(argument) else HERE
            elif isinstance(argument, (str, torch.device)):
                target, argument = torch.device(argument), HERE
            plain.append(argument)
        args = (args[0], *plain)
        if isinstance(kwargs.get("other"), Tensor):
            target = THERE if is_there(kwargs["other"]) else HERE
    return target, args, kwargs


def _tensors(thing):
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, (list, tuple)):
        for each in thing:
            yield from _tensors(each)
    elif isinstance(thing, dict):
        for each in thing.values():
            yield from _tensors(each)
