"""Models from ONNX files: what they are shown, and what is said of those that are no such model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flipagents.cli import main
from flipagents.compare.methods import make_method, run_method
from flipagents.maps.geometry import filled_box
from flipenv.errors import ConfigError, MaskError, MissingDependencyError
from flipenv.types import Case


def write(
    path: Path,
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    *,
    image: str = "UINT8",
    box: str = "FLOAT",
    output: str = "logits",
    rank: int = 4,
) -> Path:
    """An ONNX file of these nodes, with inputs of these types."""
    onnx = pytest.importorskip("onnx", reason="it writes the models that are read here")
    helper, types = onnx.helper, onnx.TensorProto
    inputs = [
        helper.make_tensor_value_info("image", getattr(types, image), [1, 1, "rows", "columns"]),
        helper.make_tensor_value_info("box", getattr(types, box), [1, 4]),
    ]
    outputs = [helper.make_tensor_value_info(output, types.FLOAT, [f"side {axis}" for axis in range(rank)])]
    own = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([helper.make_node(*node[:3], **node[3]) for node in nodes], "tiny", inputs, outputs, own)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def dark(path: Path, output: str = "logits", *, limit: float = 60.0, image: str = "UINT8") -> Path:
    """Nodule where the grey level, or the float picture's value, is below the limit."""
    nodes = [
        ("Cast", ["image"], ["grey"], {"to": 1}),
        ("Sub", ["limit", "grey"], [output], {}),
    ]
    return write(path, nodes, {"limit": np.float32(limit)}, image=image, output=output)


def boxed(path: Path, shape: tuple[int, ...]) -> Path:
    """Nodule where the box is: distances from its four sides are positive."""
    rows, columns = (np.arange(side, dtype=np.float32) + 0.5 for side in shape)
    nodes: list[Any] = [("Cast", ["box"], ["corners"], {"to": 1})]
    for index, name in enumerate(("x0", "y0", "x1", "y1")):
        nodes.append(("Gather", ["corners", f"number {name}"], [name], {"axis": 1}))
        place = "columns" if name[0] == "x" else "rows"
        nodes.append(("Sub", [place, name] if index < 2 else [name, place], [f"from {name}"], {}))
    nodes.append(("Min", [f"from {name}" for name in ("x0", "y0", "x1", "y1")], ["logits"], {}))
    constants = {f"number {name}": np.array([index]) for index, name in enumerate(("x0", "y0", "x1", "y1"))}
    constants |= {"rows": rows[:, None], "columns": columns[None]}
    return write(path, nodes, constants, image="FLOAT", box="INT64", rank=2)


def test_it_sees_the_image(tmp_path: Path, phantoms: list[Case]) -> None:
    pytest.importorskip("onnxruntime")
    models = [
        dark(tmp_path / "grey.onnx"),
        dark(tmp_path / "float.onnx", limit=60 / 255, image="FLOAT"),
        # nodule where the probability exceeds a half
        dark(tmp_path / "probability.onnx", "probability", limit=60.5),
    ]
    for model in models:
        for case, mask in zip(phantoms, run_method(make_method(f"onnx:{model}"), phantoms), strict=True):
            np.testing.assert_array_equal(mask, case.image < 60)
            assert 0 < mask.mean() < 1


def test_it_sees_the_box(tmp_path: Path, phantoms: list[Case]) -> None:
    pytest.importorskip("onnxruntime")
    for case in phantoms[::2]:
        method = make_method(f"onnx:{boxed(tmp_path / 'box.onnx', case.image.shape)}")
        np.testing.assert_array_equal(run_method(method, [case])[0], filled_box(case.box, case.image.shape))


def test_what_is_no_such_model(tmp_path: Path, phantoms: list[Case]) -> None:
    pytest.importorskip("onnxruntime")
    for name in ("onnx", f"onnx:{tmp_path}", "onnx:gone.onnx"):
        with pytest.raises(ConfigError, match=r"needs a model's file, not .*; write onnx:FILE\.onnx"):
            make_method(name)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ConfigError, match="text.onnx is no ONNX model that onnxruntime can run"):
        make_method(f"onnx:{tmp_path / 'text.onnx'}")
    with pytest.raises(ConfigError, match=r"outputs \['mask'\]; expected .* called logits or probability"):
        make_method(f"onnx:{dark(tmp_path / 'mask.onnx', 'mask')}")
    write(tmp_path / "wide.onnx", [("Cast", ["image"], ["logits"], {"to": 1})], {}, box="DOUBLE")
    with pytest.raises(ConfigError, match="'box': 'tensor\\(double\\)'.*expected image as uint8 or float"):
        make_method(f"onnx:{tmp_path / 'wide.onnx'}")
    with pytest.raises(ConfigError, match="device='tpu'"):
        make_method(f"onnx:{tmp_path / 'text.onnx'}", device="tpu")
    turned = [
        ("Cast", ["image"], ["grey"], {"to": 1}),
        ("Transpose", ["grey"], ["logits"], {"perm": [0, 1, 3, 2]}),
    ]
    method = make_method(f"onnx:{write(tmp_path / 'turned.onnx', turned, {})}")
    with pytest.raises(MaskError, match="gave logits of shape"):
        run_method(method, phantoms[:1])
    fixed = make_method(f"onnx:{boxed(tmp_path / 'fixed.onnx', (7, 5))}")
    with pytest.raises(MaskError, match=r"gave logits of shape \(7, 5\)"):
        run_method(fixed, phantoms[:1])
    wants_one_row = [
        ("Cast", ["image"], ["grey"], {"to": 1}),
        ("Reshape", ["grey", "shape"], ["logits"], {}),
    ]
    method = make_method(f"onnx:{write(tmp_path / 'row.onnx', wants_one_row, {'shape': np.array([1, 3])}, rank=2)}")
    with pytest.raises(MaskError, match=r"row\.onnx failed"):
        run_method(method, phantoms[:1])


def test_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "any.onnx").write_bytes(b"")
    with pytest.raises(
        MissingDependencyError,
        match=r"needs the package 'onnxruntime', which is not installed: pip install flip-learning\[onnx\]",
    ):
        make_method(f"onnx:{tmp_path / 'any.onnx'}")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    model = dark(tmp_path / "dark.onnx")
    words = ["evaluate", "--data", "phantom:2?height=80&width=112", "--quiet", "--methods", f"onnx:{model}"]
    assert main(words) == 0
    assert f"onnx:{model}" in capsys.readouterr().out
    out = tmp_path / "out"
    assert main(["segment", "phantom:2?height=80&width=112", "--method", f"onnx:{model}", "-o", str(out)]) == 0
    assert len(list(out.glob("*_mask.png"))) == 2
