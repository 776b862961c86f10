"""Export a trained pipeline to ONNX files, for inference without torch: `flip export`.

Each network becomes one file with the inputs and outputs used inside this project, so that other programs can run it
too; the dynamic first axis is called `batch`.

    stage1/agent, stage2/agent    observation uint8, see `Agent.network` -> better (batch, agents) float32
    contour, student, locator     crops (batch, channels, 64, 64) float32 -> probability (batch, 64, 64) float32
    classifier/classifier         canvases (batch, height, width) uint8 -> score (batch,) float32
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flipagents.classify.classifier import MEAN, STD, Classifier
from flipagents.maps.crops import N_INPUTS, SIZE
from flipagents.maps.network import Student, probability
from flipagents.segment.calibration import QUALITY, read_calibrations, write_calibrations
from flipagents.segment.loading import load_agent
from flipagents.segment.onnx import AGENT, MAPPER, SCORER
from flipagents.segment.runtimes import COPY, fault_of_copy, made_of, pipeline_folder
from flipagents.store import checkpoint
from flipagents.store.checkpoint import CheckpointError
from flipagents.store.onnx import write_network
from flipagents.store.recipe import CLASSIFIER, Recipe, networks
from flipenv.errors import ConfigError, MissingDependencyError
from flipenv.sources.extras import need

OPSET = 18
EXAMPLES = 2  # batch size for tracing: the exporter would turn 1 into a constant


def export_pipeline(folder: str | Path | None, into: str | Path, *, keep: bool = False) -> list[Path]:
    """Write all networks of a pipeline, its calibration, and its recipe last, into a folder; return the networks'.

    folder: output of `flip train`, None for the shipped weights. keep: keep networks in `into` that were made from the
    same weights. Raises CheckpointError if `folder` is not a pipeline, ConfigError if `into` is the same folder,
    MissingDependencyError without onnx and onnxscript.
    """
    where, into = pipeline_folder(folder, "torch"), Path(into)
    if into.resolve() == where.resolve():
        raise ConfigError(f"{into} is the pipeline itself; give another folder for its export")
    recipe = Recipe.read(where)
    makers = dict.fromkeys(recipe.stages, _agent) | {CLASSIFIER: _scorer}
    names = networks(where, recipe)
    for name in names:
        if not (keep and made_of(into / name) == checkpoint.digest_of(where / name)):
            makers.get(name, _mapper)(where / name, into / name)
    if (where / QUALITY).exists():
        write_calibrations([into / QUALITY], read_calibrations(where / QUALITY))
    dataclasses.replace(recipe, runtime="onnx").write(into)
    return [into / name for name in names]


def write_copy(folder: Path) -> None:
    """Write a pipeline's ONNX copy into its own folder (see `flipagents.segment.runtimes`), unless it exists.

    Networks already copied from the same weights are kept, so an interrupted copy resumes. A RuntimeWarning reports
    anything that cannot be copied, such as an agent without a network: torch runs it.
    """
    if fault_of_copy(folder) is None:
        return
    try:
        export_pipeline(folder, folder / COPY, keep=True)
    except (ConfigError, CheckpointError, MissingDependencyError) as error:
        warnings.warn(f"{folder} gets no ONNX copy, so torch runs it: {error}", RuntimeWarning, stacklevel=2)


def _agent(folder: Path, into: Path) -> Path:
    agent = load_agent(folder)
    env = agent.env
    agents = () if env.observation == "joint" else (env.n_agents,)
    example = torch.zeros((EXAMPLES, *agents, env.n_channels, env.window, env.window), dtype=torch.uint8)
    about = {"env": env.to_dict(), "config": agent.config.to_dict()}
    return _write(folder, into, agent.network(), {"observation": example}, "better", {"role": AGENT, **about})


def _mapper(folder: Path, into: Path) -> Path:
    student = Student.load(folder)
    example = torch.zeros(EXAMPLES, N_INPUTS[student.view], SIZE, SIZE)
    about = {"role": MAPPER, "view": student.view}
    return _write(folder, into, _Probability(student.network), {"crops": example}, "probability", about)


def _scorer(folder: Path, into: Path) -> Path:
    classifier = Classifier.load(folder)
    canvas = classifier.config.patches.env.canvas
    example = torch.zeros((EXAMPLES, canvas.height, canvas.width), dtype=torch.uint8)
    return _write(folder, into, _Score(classifier), {"canvases": example}, "score", {"role": SCORER})


class _Probability(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Tensor:
        return probability(self.network, crops)


class _Score(nn.Module):
    """The scoring of `flipenv.torch_scorer`."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network, self.temperature = classifier.network, classifier.temperature

    def forward(self, canvases: Tensor) -> Tensor:
        logits = self.network((canvases[:, None].float() / 255 - MEAN) / STD)
        scores: Tensor = (logits[:, 0] / self.temperature).sigmoid()
        return scores


def _write(
    source: Path, into: Path, network: nn.Module, inputs: Mapping[str, Tensor], output: str, about: dict[str, Any]
) -> Path:
    """Export and write one network; its metadata hold the digest of the source weights."""
    model = _model(network.eval(), inputs, output)
    return write_network(into, model, {**about, "of": checkpoint.digest_of(source)})


def _model(network: nn.Module, inputs: Mapping[str, Tensor], output: str) -> bytes:
    """The bytes of an ONNX file."""
    for package in ("onnx", "onnxscript"):  # needed by torch's exporter, which does not name them
        need(package, extra="agents", purpose="export")
    free = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # the exporter warns about itself and about optional torchvision
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                network,
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=[output],
                opset_version=OPSET,
                dynamic_shapes=free,
                external_data=False,
                verbose=False,
                dynamo=True,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise CheckpointError(f"{type(network).__name__} cannot be written as ONNX: {error}") from error
    assert program is not None
    proto = program.model_proto
    first = proto.graph.input[0].type.tensor_type.shape.dim[0]
    if not first.dim_param:
        raise CheckpointError(
            f"{type(network).__name__} was exported for a fixed batch size of {first.dim_value}, not a dynamic one"
        )
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
        del part.metadata_props[:]  # local paths of the code
    return bytes(proto.SerializeToString())
