"""Baselines: methods that segment an image in a box without agents.

Each table maps a method's name to `module:attribute`. A module is imported only when its method is made, so a method
does not need the dependencies of the others.
"""

RULES = {  # functions: image (height, width) uint8 and its Box -> mask (height, width) bool
    "box": "flipagents.maps.geometry:box_mask",
    "ellipse": "flipagents.maps.geometry:ellipse_mask",
    "otsu": "flipagents.compare.baselines.otsu:otsu",
    "grabcut": "flipagents.compare.baselines.grabcut:grabcut",
    "grabcut-fair": "flipagents.compare.baselines.grabcut:grabcut_fair",
    "saliency": "flipagents.compare.baselines.saliency:spectral_residual",
    "saliency-fine": "flipagents.compare.baselines.saliency:fine_grained",
    "sp-rg": "flipagents.compare.baselines.region_growing:region_growing",
    "polar": "flipagents.maps.polar:polar",
    "polar+grey": "flipagents.maps.polar_grey:polar_grey",
}
MAKERS = {  # (folder of trained weights or None for the shipped ones, torch device) -> Method
    "oracle": "flipagents.compare.baselines.oracle:Oracle",
    "litemedsam": "flipagents.compare.baselines.litemedsam:LiteMedSAM",
    "adversarial-erasing": "flipagents.compare.baselines.adversarial_erasing:method",
    "box-unet": "flipagents.compare.baselines.box_unet:method",
    "gradcam": "flipagents.compare.baselines.gradcam:GradCam",
    "gradcam++": "flipagents.compare.baselines.gradcam:plus",
    "onnx": "flipagents.compare.baselines.onnx_file:OnnxFile",
    "sdi": "flipagents.compare.baselines.sdi:method",
    "unet": "flipagents.compare.baselines.unet:method",
}
TRAINED = {  # trainers of the methods of the same names, see `flipagents.compare.trainers`
    "adversarial-erasing": "flipagents.compare.baselines.adversarial_erasing:train",
    "box-unet": "flipagents.compare.baselines.box_unet:train",
    "sdi": "flipagents.compare.baselines.sdi:train",
    "unet": "flipagents.compare.baselines.unet:train",
}
