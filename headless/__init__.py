"""Running the same nodes and workflow files without ComfyUI."""

from .host.headless_host import HeadlessHost, HeadlessSettings, StoppedError, use_headless

__all__ = ["HeadlessHost", "HeadlessSettings", "StoppedError", "use_headless"]
