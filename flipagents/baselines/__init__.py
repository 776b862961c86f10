"""What the agents are compared with: masks from an image and a box without any agent.

The tables name each method of this package and where it is, `module:attribute`; a module is imported when its method is
made, so that one method's dependencies are no other's.
"""

RULES = {  # functions of an image (height, width) uint8 and its Box that give a mask (height, width) bool
    "box": "flipagents.baselines.geometry:box_mask",
    "ellipse": "flipagents.baselines.geometry:ellipse_mask",
    "otsu": "flipagents.baselines.otsu:otsu",
    "grabcut": "flipagents.baselines.grabcut:grabcut",
    "grabcut-fair": "flipagents.baselines.grabcut:grabcut_fair",
    "saliency": "flipagents.baselines.saliency:spectral_residual",
    "saliency-fine": "flipagents.baselines.saliency:fine_grained",
    "sp-rg": "flipagents.baselines.region_growing:region_growing",
    "polar": "flipagents.baselines.polar:polar",
    "polar+grey": "flipagents.baselines.polar_grey:polar_grey",
}
MAKERS = {  # called with a folder of trained weights, None for those that ship, and a torch device; they give a Method
    "oracle": "flipagents.baselines.oracle:Oracle",
    "litemedsam": "flipagents.baselines.litemedsam:LiteMedSAM",
    "adversarial-erasing": "flipagents.baselines.adversarial_erasing:method",
    "box-unet": "flipagents.baselines.box_unet:method",
    "gradcam": "flipagents.baselines.gradcam:GradCam",
    "gradcam++": "flipagents.baselines.gradcam:plus",
    "onnx": "flipagents.baselines.onnx_file:OnnxFile",
    "sdi": "flipagents.baselines.sdi:method",
    "unet": "flipagents.baselines.unet:method",
}
TRAINED = {  # what trains the methods of the same names, see `flipagents.trainers`
    "adversarial-erasing": "flipagents.baselines.adversarial_erasing:train",
    "box-unet": "flipagents.baselines.box_unet:train",
    "sdi": "flipagents.baselines.sdi:train",
    "unet": "flipagents.baselines.unet:train",
}
