"""Any box-prompted network in an ONNX file: `onnx:FILE.onnx`.

    pip install onnxruntime    # or flip-learning[onnx]

Inputs and output are found by name; height and width may be dynamic:

    image   (1, 1, height, width): uint8 grey levels 0..255, or float32, then 0..1
    box     (1, 4) float32 or int64: x0, y0, x1, y1 in pixels of the image, x1 and y1 excluded
    logits, or probability    (1, 1, height, width) or (height, width): nodule above 0, or above a half

Resizing, cropping and scaling belong into the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipagents.store.onnx import open_session
from flipenv.errors import ConfigError, FlipError, MaskError
from flipenv.types import Case

ABOVE = {"logits": 0.0, "probability": 0.5}  # threshold by name of the output
TYPES = {
    "image": {"tensor(uint8)": np.uint8, "tensor(float)": np.float32},
    "box": {"tensor(int64)": np.int64, "tensor(float)": np.float32},
}


class OnnxFile:
    """Segments with the model in a file; weights: the file. device: cpu or cuda.

    Raises MissingDependencyError without onnxruntime; ConfigError if the file does not exist or is not a model of the
    form above. A call raises MaskError if the model fails, or its output has NaN or another shape than the image.
    """

    def __init__(self, weights: Path | None, device: str) -> None:
        if weights is None or not weights.is_file():
            raise ConfigError(f"method 'onnx' needs a model's file, not {weights}; write onnx:FILE.onnx")
        try:
            self.session = open_session(weights, device)
        except FlipError:
            raise
        except Exception as error:  # its exceptions have no base of their own
            raise ConfigError(f"{weights} is no ONNX model that onnxruntime can run: {_first_line(error)}") from error
        self.file = weights
        self.types = {each.name: TYPES[each.name].get(each.type) for each in self._inputs()}
        outputs = [each.name for each in self.session.get_outputs()]
        self.output = next((name for name in outputs if name in ABOVE), "")
        if None in self.types.values() or not self.output:
            found = {each.name: each.type for each in self._inputs()}
            raise ConfigError(
                f"{weights} has inputs {found} and outputs {outputs}; expected image as uint8 or float, box as int64 "
                f"or float, and one output called {' or '.join(ABOVE)}"
            )

    def __call__(self, cases: list[Case]) -> list[NDArray[np.bool_]]:
        """One mask (height, width) per case, as the model returns it."""
        return [self._mask(case) for case in cases]

    def _mask(self, case: Case) -> NDArray[np.bool_]:
        box = case.box
        image = case.image if self.types["image"] is np.uint8 else case.image.astype(np.float32) / 255
        corners = np.array([[box.left, box.top, box.right, box.bottom]], self.types["box"])
        try:
            (seen,) = self.session.run([self.output], {"image": image[None, None], "box": corners})
        except Exception as error:  # its exceptions have no base of their own
            raise MaskError(f"case {case.id!r}: {self.file} failed: {_first_line(error)}") from error
        if seen.shape not in ((1, 1, *case.image.shape), case.image.shape) or np.isnan(seen).any():
            raise MaskError(
                f"case {case.id!r}: {self.file} gave {self.output} of shape {seen.shape}, or NaN; expected "
                f"(1, 1, {case.image.shape[0]}, {case.image.shape[1]}), the image's shape"
            )
        return np.asarray(seen.reshape(case.image.shape) > ABOVE[self.output])

    def _inputs(self) -> list[Any]:
        """The model's inputs; ConfigError unless they are named image and box."""
        inputs = list(self.session.get_inputs())
        if sorted(each.name for each in inputs) != sorted(TYPES):
            raise ConfigError(f"{self.file} has inputs {[each.name for each in inputs]}; expected image and box")
        return inputs


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
