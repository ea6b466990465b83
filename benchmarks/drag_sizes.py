"""The same drags on larger pictures: what following features of 128 px, as published, is worth beside half the height.

The demo generator gets further blocks behind its own, which draw nothing new: their colours are zero, so a picture of
512 px is the one of 128 px enlarged, and the oracle reads it as before. Their features are what a drag should not
follow: few channels, no parts. Columns are those of benchmarks/drag.py, in pixels of 128. Below, the seconds of the
synthesis up to the features, random weights of NVlabs' widths: "least change" asks for it some 75 times before its
first step, "published" once a step.

    python benchmarks/drag_sizes.py [--drags 5] [--height 512] [--published-steps 60] [--write]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch
from _harness import machine_facts, say, table
from _pages import write_page
from drag import COLUMNS, SIZE, Case, grade, make_cases, pictures_of, summary
from semantic_edit.demo import measure
from semantic_edit.demo.assets import demo_file
from semantic_edit.editing.drag.drag import PUBLISHED, DragSettings
from semantic_edit.editing.drag.features import feature_layer
from semantic_edit.editing.drag.points import DragPoints
from semantic_edit.models import GanGenerator, StyleGAN2, StyleGAN2Config, load_generator
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

HALF = 1 << 20  # px: no limit but half the height, as before
WIDTHS = (512, 512, 512, 512, 512, 256, 128, 64, 32)  # of NVlabs' 1024 px


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drags", type=int, default=5)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--published-steps", type=int, default=60, help="0: without the published method")
    parser.add_argument("--write", action="store_true", help="put the tables on their page of results/")
    options = parser.parse_args()
    small = load_generator(demo_file("generators"))
    large = enlarged(small, options.height)
    spread = {name: float(values.std()) for name, values in measure(pictures_of(small, 128)).items()}
    rows = []
    methods = [("least change", DragSettings(), options.drags)]
    if options.published_steps:
        methods.append((f"published, {options.published_steps} steps", PUBLISHED, min(2, options.drags)))
    for name, settings, count in methods:
        for limit, features in ((HALF, f"{options.height // 2} px (before)"), (128, "128 px (now)")):
            method = (replace(settings, feature_height=limit), None, True)
            found = [
                grade(large, enlarged_case(case, options.height // SIZE), method, spread,
                      options.published_steps, options.height // SIZE)
                for case in make_cases(count)
            ]  # fmt: skip
            rows.append([f"{name}, features of {features}", str(count), *summary(found)])
            say(" | ".join(rows[-1]))
    quality = table(("", "drags", *(column for column in COLUMNS if column != "median")), rows)
    times = table(("height", "half the height", "128 px"), [synthesis_row(height) for height in (256, 512, 1024)])
    text = (
        f"Drags of pictures of {options.height} px:\n\n{quality}\n\nSynthesis up to the features, seconds:\n\n{times}"
    )
    say(f"\n{text}\n\n{machine_facts()}")
    if options.write:
        write_page("drag_sizes", text, "python benchmarks/drag_sizes.py", machine_facts())


def enlarged(generator: GanGenerator, height: int) -> GanGenerator:
    """The same generator with blocks up to a height that add features and no colours."""
    config = generator.network.config
    channels = list(config.channels)
    while config.const_size[0] * 2 ** (len(channels) - 1) < height:
        channels.append(max(8, channels[-1] // 2))
    network = StyleGAN2(replace(config, channels=tuple(channels)), generator=torch.Generator().manual_seed(1))
    state = network.state_dict() | generator.network.state_dict()
    for name in network.state_dict():
        if ".torgb." in name and name not in generator.network.state_dict() and "affine" not in name:
            state[name] = torch.zeros_like(state[name])
    network.load_state_dict(state)
    return GanGenerator(network.eval().requires_grad_(False), generator.family, "enlarged")


def enlarged_case(case: Case, factor: int) -> Case:
    """The same drag on a picture that is so many times larger."""
    points = DragPoints(case.points.handles * factor, case.points.targets * factor)
    region = case.region.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    return replace(case, points=points, region=region)


def synthesis_row(height: int) -> list[str]:
    blocks = height.bit_length() - 2
    config = StyleGAN2Config(z_dim=512, w_dim=512, channels=WIDTHS[:blocks], mapping_layers=2)
    network = StyleGAN2(config, generator=torch.Generator().manual_seed(1)).eval().requires_grad_(False)
    generator, code = GanGenerator(network, "", "random"), torch.randn(1, config.num_layers, 512)
    cells = [f"{height} px"]
    for limit in (HALF, 128):
        options = SynthesisOptions(stop_layer=feature_layer(generator, 0.5, limit))
        network.synthesis(code, options)
        began = time.process_time()
        network.synthesis(code, options)
        cells.append(f"{time.process_time() - began:.2f}")
    return cells


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    main()
