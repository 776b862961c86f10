"""Where modules were before they moved into rooms: see `flipenv.moved`."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from typing import Any

MOVED = {
    "flipagents.ablation": "flipagents.compare.ablation",
    "flipagents.agents": "flipagents.learn.agents",
    "flipagents.app": "flipagents.serve.page",
    "flipagents.baselines": "flipagents.compare.baselines",
    "flipagents.baselines.adversarial_erasing": "flipagents.compare.baselines.adversarial_erasing",
    "flipagents.baselines.box_losses": "flipagents.compare.baselines.box_losses",
    "flipagents.baselines.box_unet": "flipagents.compare.baselines.box_unet",
    "flipagents.baselines.geometry": "flipagents.maps.geometry",
    "flipagents.baselines.grabcut": "flipagents.compare.baselines.grabcut",
    "flipagents.baselines.gradcam": "flipagents.compare.baselines.gradcam",
    "flipagents.baselines.heat": "flipagents.compare.baselines.heat",
    "flipagents.baselines.litemedsam": "flipagents.compare.baselines.litemedsam",
    "flipagents.baselines.onnx_file": "flipagents.compare.baselines.onnx_file",
    "flipagents.baselines.oracle": "flipagents.compare.baselines.oracle",
    "flipagents.baselines.otsu": "flipagents.compare.baselines.otsu",
    "flipagents.baselines.polar": "flipagents.maps.polar",
    "flipagents.baselines.polar_grey": "flipagents.maps.polar_grey",
    "flipagents.baselines.region_growing": "flipagents.compare.baselines.region_growing",
    "flipagents.baselines.saliency": "flipagents.compare.baselines.saliency",
    "flipagents.baselines.sdi": "flipagents.compare.baselines.sdi",
    "flipagents.baselines.smooth": "flipagents.compare.baselines.smooth",
    "flipagents.baselines.trained": "flipagents.compare.baselines.trained",
    "flipagents.baselines.unet": "flipagents.compare.baselines.unet",
    "flipagents.brush": "flipagents.formats.brush_rle",
    "flipagents.bulk": "flipagents.scale.worker",
    "flipagents.calibration": "flipagents.classify.checks",
    "flipagents.checkpoint": "flipagents.store.checkpoint",
    "flipagents.classifier": "flipagents.classify.classifier",
    "flipagents.classifier_training": "flipagents.classify.training",
    "flipagents.commands": "flipagents.cli.parser",
    "flipagents.config": "flipagents.learn.config",
    "flipagents.contour": "flipagents.maps.contour",
    "flipagents.crops": "flipagents.maps.crops",
    "flipagents.desk": "flipagents.serve.service",
    "flipagents.dicom_seg": "flipagents.formats.dicom_seg",
    "flipagents.dispatch": "flipagents.scale.engines",
    "flipagents.distil": "flipagents.maps.training",
    "flipagents.dqn": "flipagents.learn.dqn",
    "flipagents.evaluation": "flipagents.compare.evaluation",
    "flipagents.export": "flipagents.segment.export",
    "flipagents.exported": "flipagents.store.onnx",
    "flipagents.figures": "flipagents.classify.figures",
    "flipagents.fixed_agents": "flipagents.learn.fixed",
    "flipagents.interchange": "flipagents.formats.coco",
    "flipagents.label_studio": "flipagents.serve.label_studio",
    "flipagents.learner": "flipagents.learn.learner",
    "flipagents.locate": "flipagents.maps.locate",
    "flipagents.losses": "flipagents.learn.losses",
    "flipagents.mapper": "flipagents.maps.mapper",
    "flipagents.methods": "flipagents.compare.methods",
    "flipagents.napari_plugin": "flipagents.serve.napari",
    "flipagents.networks": "flipagents.learn.networks",
    "flipagents.onnx_networks": "flipagents.segment.onnx",
    "flipagents.outputs": "flipagents.segment.outputs",
    "flipagents.page_actions": "flipagents.serve.page_actions",
    "flipagents.patches": "flipagents.classify.examples",
    "flipagents.pipeline": "flipagents.train.pipeline",
    "flipagents.plots": "flipagents.compare.plots",
    "flipagents.postprocess": "flipagents.maps.tidy",
    "flipagents.priors": "flipagents.maps.rules",
    "flipagents.provenance": "flipagents.store.provenance",
    "flipagents.ranks": "flipagents.learn.ranks",
    "flipagents.ray_engine": "flipagents.scale.ray",
    "flipagents.refine": "flipagents.maps.refine",
    "flipagents.replay": "flipagents.learn.replay",
    "flipagents.report": "flipagents.compare.report",
    "flipagents.rollout": "flipagents.learn.rollout",
    "flipagents.runlog": "flipagents.learn.log",
    "flipagents.sb3_agents": "flipagents.learn.sb3",
    "flipagents.scoring": "flipagents.compare.scoring",
    "flipagents.server": "flipagents.serve.http",
    "flipagents.sites": "flipagents.classify.sites",
    "flipagents.student": "flipagents.maps.network",
    "flipagents.summaries": "flipagents.compare.summaries",
    "flipagents.tables": "flipagents.compare.tables",
    "flipagents.torch_state": "flipagents.store.torch_state",
    "flipagents.trainers": "flipagents.compare.trainers",
    "flipagents.views": "flipagents.serve.pictures",
    "flipagents.warp": "flipagents.maps.warp",
}


class Finder:
    """Answers for the old names, and imports flipenv only then: `flip --help` waits for nothing."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder`."""
        if name not in MOVED:
            return None
        from flipenv.moved import redirection  # noqa: PLC0415

        return redirection(name, MOVED[name])
