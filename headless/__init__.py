"""Running the same nodes and workflow files without ComfyUI."""

from .side import HeadlessHost, HeadlessSettings, StoppedError, use_headless

__all__ = ["HeadlessHost", "HeadlessSettings", "StoppedError", "use_headless"]
