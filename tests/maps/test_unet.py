"""The U-Net against MONAI's, from which its weights may come: the same names, draws, outputs and gradients."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")
from flipagents.maps.unet import UNet  # noqa: E402 - it needs torch


@pytest.mark.parametrize(("n_inputs", "features"), [(3, (8, 8, 16, 32, 64, 8)), (5, (4, 6, 10, 8, 12, 5))])
def test_it_is_monais(n_inputs: int, features: tuple[int, ...]) -> None:
    nets = pytest.importorskip("monai.networks.nets", reason="it is compared with MONAI's")
    torch.manual_seed(3)
    ours = UNet(n_inputs, features)
    torch.manual_seed(3)
    theirs = nets.BasicUNet(
        spatial_dims=2,
        in_channels=n_inputs,
        out_channels=1,
        features=features,
        act=("relu", {"inplace": True}),
        norm="batch",
        upsample="nontrainable",
    )
    wanted = theirs.state_dict()
    assert list(ours.state_dict()) == list(wanted)
    assert all(torch.equal(value, wanted[name]) for name, value in ours.state_dict().items()), "other draws"
    pictures = torch.randn(3, n_inputs, 48, 64)
    for training in (True, False):
        seen, expected = (network.train(training)(pictures) for network in (ours, theirs))
        assert seen.shape == (3, 1, 48, 64)
        assert torch.equal(seen, expected)
    for network in (ours, theirs):
        network(pictures).square().mean().backward()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
