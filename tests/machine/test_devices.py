"""Which device a name means, and what is said of one that is not here."""

import subprocess
import sys

import pytest

from flipagents.machine import devices
from flipagents.machine.devices import check_device
from flipenv.errors import ConfigError, MissingDependencyError


class _Cuda:
    def __init__(self, count):
        self.count = count

    def is_available(self):
        return self.count > 0

    def device_count(self):
        return self.count


class _Torch:
    """A torch that sees so many GPUs."""

    __version__ = "2.13.0"

    def __init__(self, count, built="13.0"):
        self.cuda = _Cuda(count)
        self.version = type("version", (), {"cuda": built, "hip": None})
        self.backends = type("backends", (), {"mps": type("mps", (), {"is_available": staticmethod(lambda: False)})})


@pytest.fixture
def gpus(monkeypatch):
    """Let a machine have so many GPUs, with torch and a driver, whatever this one has."""

    def have(count, *, driver=True, torch=True, built="13.0"):
        monkeypatch.setattr(devices, "_torch", lambda: _Torch(count, built))
        monkeypatch.setattr(devices, "_driver", lambda: driver)
        monkeypatch.setattr(devices, "find_spec", lambda name: object() if torch else None)

    return have


def test_cpu_needs_nothing():
    assert check_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("name", "meant"), [("cudua", "cuda"), ("gpu", "cpu"), ("CPU", "cpu"), ("cuda:x", "cuda"), ("cpu:0", "cpu")]
)
def test_an_unknown_name_is_refused_with_the_nearest_one(name, meant):
    with pytest.raises(ConfigError, match=f"unknown device '{name}': did you mean '{meant}'.*known are cpu, cuda"):
        check_device(name)


def test_something_quite_different_gets_no_suggestion():
    with pytest.raises(ConfigError, match="unknown device 'xyz': known are cpu"):
        check_device("xyz")
    with pytest.raises(ConfigError, match="unknown device None: known are cpu"):
        check_device(None)


def test_cuda_without_a_gpu(gpus):
    gpus(0)
    with pytest.raises(ConfigError, match=r"^no CUDA device here: use --device cpu$"):
        check_device("cuda")


def test_cuda_of_a_torch_without_it(gpus):
    gpus(0, built=None)
    with pytest.raises(ConfigError, match=r"torch 2\.13\.0 was built without CUDA.*use --device cpu"):
        check_device("cuda:1")


def test_cuda_by_number(gpus):
    gpus(2)
    assert [check_device(name) for name in ("cuda", "cuda:0", "cuda:1")] == ["cuda", "cuda:0", "cuda:1"]
    with pytest.raises(ConfigError, match="no cuda:2 here: use --device cuda:0 to cuda:1"):
        check_device("cuda:2")
    gpus(1)
    with pytest.raises(ConfigError, match="no cuda:1 here: use --device cuda:0$"):
        check_device("cuda:1")


def test_mps_elsewhere(gpus):
    gpus(1)
    with pytest.raises(ConfigError, match="no Metal device here: use --device cpu"):
        check_device("mps")


def test_auto_takes_a_gpu_where_there_is_one(gpus):
    gpus(1)
    assert check_device("auto") == "cuda"
    assert check_device("auto", runtime="onnx") == "cpu"
    gpus(0)
    assert check_device("auto") == "cpu"


def test_auto_asks_torch_only_where_there_is_a_driver(gpus, monkeypatch):
    gpus(0, driver=False)
    monkeypatch.setattr(devices, "_torch", lambda: pytest.fail("torch was imported"))
    assert check_device("auto") == "cpu"


def test_without_torch(gpus):
    gpus(1, torch=False)
    assert check_device("auto") == "cpu"
    with pytest.raises(MissingDependencyError, match=r"device 'cuda' needs torch: pip install"):
        check_device("cuda")


def test_onnxruntime_without_a_gpu():
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is built for CUDA")
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(ConfigError, match=f"onnxruntime has no device '{name}' here: use --device cpu"):
            check_device(name, runtime="onnx")


def test_cpu_and_wrong_names_import_no_torch():
    code = (
        "import sys\nfrom flipagents.machine.devices import check_device\ncheck_device('cpu')\n"
        "try:\n check_device('cudua')\nexcept ValueError: pass\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
