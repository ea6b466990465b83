"""Widget values: which value of a saved node belongs to which input.

A UI-format file keeps a node's widget values as a bare list, in the order of the widgets; some widgets (what happens
to a seed after the run, the upload button) are in that list without being inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
SEED_NAMES = {"seed", "noise_seed"}
AFTER_GENERATE = {"fixed", "increment", "decrement", "randomize", "increment-wrap"}
OLDER = "value_in_older_files"  # an option of widgets that came later
UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload", "animated_image_upload")


def input_specs(info: dict) -> Iterator[tuple[str, str, Any, dict]]:
    """Yield (name, group, type, options) of every input of a node, in the order of its widgets.

    `group` is "required" or "optional"; `type` is a name, or the list of choices of an old-style combo.
    """
    for group in ("required", "optional"):
        specs = info.get("input", {}).get(group) or {}
        for name in (info.get("input_order") or {}).get(group) or specs:
            spec = specs[name]
            yield name, group, spec[0], (spec[1] if len(spec) > 1 else None) or {}


def has_widget(kind: Any, options: dict) -> bool:
    """Return True when an input of this type shows a widget, so that it has a value of its own."""
    if options.get("forceInput"):
        return False
    return isinstance(kind, list) or (options.get("widgetType") or kind) in WIDGET_TYPES


def named_values(info: dict, saved: Any) -> dict[str, Any]:
    """Return the widget values of a saved node by input name.

    Args:
        info: the node's description as /object_info gives it.
        saved: its ``widgets_values``: a list, or an object of names and values (some packs), or None.

    Missing values are filled with the inputs' defaults; a combo without default takes its first choice. Widgets that
    came after the file was saved take what such files go on with, where they say it.
    """
    specs = [spec for spec in input_specs(info) if has_widget(spec[2], spec[3])]
    values = {name: _default(kind, options) for name, _, kind, options in specs}
    if saved:
        values.update((name, options[OLDER]) for name, _, _, options in specs if OLDER in options)
    if isinstance(saved, dict):
        values.update((name, value) for name, value in saved.items() if name in values)
    elif isinstance(saved, list):
        values.update(_in_order(info, specs, saved))
    return {name: value for name, value in values.items() if value is not None}


def _in_order(info: dict, specs: list, saved: list) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) from a bare list, passing over the widgets that are no inputs."""
    wired_only = [spec for spec in input_specs(info) if spec[3].get("forceInput") and _would_show(spec)]
    if wired_only and len(saved) == sum(_value_count(spec) for spec in specs + wired_only):
        specs = [spec for spec in input_specs(info) if spec in specs or spec in wired_only]  # files of older versions
    queue = list(saved[: 3 * len(specs) + 1])  # with each value its control and its filter, and the upload button
    upload_due = any(options.get(upload) for _, group, _, options in specs for upload in UPLOADS if group == "required")
    for name, group, kind, options in specs:
        if group == "optional" and upload_due:
            upload_due = False
            if queue and queue[0] in ("image", "video", "audio", None):
                queue.pop(0)
        if not queue:
            return
        value = queue.pop(0)
        if value is not None and not options.get("forceInput"):
            yield name, value
        if is_controlled(name, kind, options) and queue and str(queue[0]) in AFTER_GENERATE:
            queue.pop(0)
            if kind == "COMBO" or isinstance(kind, list):
                queue[:1] = []  # the filter of the choices that a control walks through


def _value_count(spec: tuple) -> int:
    """Return how many values of the list a widget takes: two where a control follows it."""
    return 2 if is_controlled(spec[0], spec[2], spec[3]) else 1


def _would_show(spec: tuple) -> bool:
    """Return True for an input that had a widget before it was forced to be a wire."""
    return has_widget(spec[2], {name: value for name, value in spec[3].items() if name != "forceInput"})


def is_controlled(name: str, kind: Any, options: dict) -> bool:
    """Return True when a "control after generate" follows the widget."""
    control = options.get("control_after_generate")
    return bool(control) if control is not None else kind == "INT" and name in SEED_NAMES


def choices(kind: Any, options: dict) -> list | None:
    """Return the choices of a combo in either of its two notations, or None when the input is no combo."""
    if isinstance(kind, list):
        return kind
    listed = options.get("options") if kind == "COMBO" else None
    return listed if isinstance(listed, list) else None


def _default(kind: Any, options: dict) -> Any:
    if "default" in options:
        return options["default"]
    listed = choices(kind, options)
    if listed is not None:
        return listed[0] if listed else None
    return {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}.get(options.get("widgetType") or kind)
