"""Pictures of what the rewards know: mean reward over theta, and maps of rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from signal_records import Records, mean_by_superpixel

from flipagents.classify.figures import BLUE, GREEN, INK, ORANGE, new_figure
from flipenv.episode import mask_on_canvas
from flipenv.pool import EpisodePool

MAPS = 6  # cases shown
PLACES = {"in": "inside the mask", "out": "outside", "core": "core of the box", "corner": "corners of the box"}


def theta_figure(records: Records, theta: float) -> Any:
    """Mean reward over theta, by place."""
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    grid = np.linspace(5, 120, 47)
    for (name, which), colour in zip(records.groups().items(), (BLUE, ORANGE, GREEN, INK), strict=False):
        label = PLACES[name]
        axes.plot(grid, [records.rewards(each)[which].mean() for each in grid], color=colour, label=label)
        axes.axhline(records.rewards(None)[which].mean(), color=colour, lw=0.8, ls=":")
    axes.axvline(theta, color="0.3", lw=1, ls="--")
    axes.axhline(0, color="0.8", lw=1, zorder=0)
    axes.set(
        xlabel=f"θ (from boxes: {theta:.0f}); dotted: without IDR",
        ylabel="mean reward of erasing",
    )
    axes.legend(frameon=False)
    return figure


def maps_figure(pool: EpisodePool, records: Records, theta: float, averaged: list[NDArray[np.float32]] | None) -> Any:
    """Image with mask, mean reward of each superpixel, and the averaging learner's, for evenly spaced cases."""
    chosen = np.unique(np.linspace(0, len(pool) - 1, min(MAPS, len(pool))).round().astype(int))
    figure = new_figure(1.9 * len(chosen), 2.1 * (2 + (averaged is not None)))
    axes = figure.subplots(2 + (averaged is not None), len(chosen), squeeze=False)
    rewards = records.rewards(theta)
    for column, index in enumerate(chosen.tolist()):
        episode, case = pool.episode(index), pool.case(index)
        maps = [mean_by_superpixel(records, rewards, index, episode.n_superpixels)]
        maps += [] if averaged is None else [averaged[index].astype(float)]
        for row, values in enumerate([None, *maps]):
            each = axes[row, column]
            each.imshow(episode.image, cmap="gray", vmin=0, vmax=255)
            if values is not None:
                shown = np.where(episode.labels >= 0, values[episode.labels], np.nan)
                colours = each.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, alpha=0.75)
            if case.mask is not None:
                nodule = mask_on_canvas(case.mask, episode.geometry, pool.config.canvas)
                each.contour(nodule, [0.5], colors="#F0E442" if values is None else "k", linewidths=1)
            each.set(xticks=[], yticks=[])
        axes[0, column].set_title(case.id[:18], fontsize=7)
    figure.colorbar(colours, ax=axes, label="reward of erasing", shrink=0.6, pad=0.01)
    names = ["image, mask", f"mean reward, θ {theta:.0f}", "averaging learner"]
    for row, name in enumerate(names[: len(axes)]):
        axes[row, 0].set_ylabel(name, fontsize=8)
    return figure
