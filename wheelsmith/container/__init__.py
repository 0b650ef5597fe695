"""Building inside the CUDA devel image, and images that install the result."""

from wheelsmith.container.baseimages import devel_image, runtime_image
from wheelsmith.container.building import InsideBuild, build_inside
from wheelsmith.container.command import ContainerRun, ImageBuild, build_command, push_command, run_commands
from wheelsmith.container.engines import ENGINES, Engine, find_engine
from wheelsmith.container.parts import Pin, make_parts, pin
from wheelsmith.container.render import render_consumer
from wheelsmith.container.sizes import ImageSizes, measure

__all__ = [
    "ENGINES",
    "ContainerRun",
    "Engine",
    "ImageBuild",
    "ImageSizes",
    "InsideBuild",
    "Pin",
    "build_command",
    "build_inside",
    "devel_image",
    "find_engine",
    "make_parts",
    "measure",
    "pin",
    "push_command",
    "render_consumer",
    "run_commands",
    "runtime_image",
]
