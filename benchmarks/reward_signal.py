"""What the classifier and the paper's rewards know about single superpixels, before any agent is trained.

    python benchmarks/reward_signal.py --data busi:PATH --split val --train "busi:PATH?split=train"

Each superpixel is erased in several contexts: nothing, a random part, or the middle of the box erased before. Tables:
how often and how far the score falls, and how often the intensity reward flags it, inside and outside the mask, and in
the core and the corners of the box, which needs no mask (centre within 0.6 radii of the box's ellipse, beyond 1.2);
the mean reward over theta; the theta that the boxes give. With --train: the Dice of an averaging learner, a small U-Net
that regresses mean rewards from image and box and erases where they are positive. With masks and a pipeline with a
learned prior: what both rewards add to it near its outline. With --agent, a trained stage: how often it erases where
the mean reward is positive. Pictures: mean reward over theta, and reward maps.

Distances are scaled to each box's own core (`standardise="core"`) unless --env says otherwise; so is theta.

It answers whether the method can work on your images with your classifier, and which theta to take.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import make_parser, provenance, read, save_figures, write_json
from numpy.typing import NDArray
from signal_figures import maps_figure, theta_figure
from signal_learner import Averager
from signal_records import Records, judge, mean_by_superpixel, record

from flipagents.classify.classifier import Classifier
from flipagents.cli.train import parse_settings
from flipagents.compare.tables import markdown_table
from flipagents.learn.fixed import mostly_nodule
from flipagents.learn.rollout import weights_of
from flipagents.maps.enriched import Enriched
from flipagents.metrics import dice
from flipagents.segment.loading import find_prior, load_agent
from flipagents.segment.segmenter import walking
from flipagents.store.checkpoint import weights_folder
from flipagents.store.files import write_texts
from flipagents.store.provenance import about, without_folders
from flipagents.store.recipe import CLASSIFIER, CONTOUR
from flipenv.config import AUTO, COARSE, FINE, EnvConfig, quantile_of
from flipenv.episode import mask_on_image
from flipenv.errors import ConfigError
from flipenv.options import between
from flipenv.pool import EpisodePool
from flipenv.sources import Source, open_source
from flipenv.theta import CORE, core_distances, radii

THETAS = (25.0, 35.0, 45.0, 55.0, 65.0, 80.0)  # grey levels
QUANTILES = (0.7, 0.8, 0.83, 0.9)
SHARES = ((0.0, 0.0), (0.0, 0.2), (0.2, 0.4), (0.4, 0.7))  # erased before: more than, up to
UNSURE = (0.08, 0.92)  # of the prior, near its outline
FOLDS = 10
SCALED = {
    False: "distances in the image's grey levels",
    True: "distances scaled to the area's deviation",
    "core": "distances scaled to each box's core",
}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the script; return all its numbers."""
    parser = make_parser(__doc__, "reward_signal")
    parser.add_argument("--classifier", type=Path, help="its folder; default: that of --weights")
    parser.add_argument("--train", help="cases without masks for the averaging learner, such as busi:PATH?split=train")
    parser.add_argument("--contexts", type=int, default=8, help="per case: one with nothing erased, the rest drawn")
    parser.add_argument("--agent", type=Path, help="folder of a trained agent on the same superpixels")
    parser.add_argument("--env", nargs="*", default=[], metavar="NAME=VALUE", help="changes of the environment")
    parser.add_argument("--epochs", type=int, default=25, help="of the averaging learner")
    options = read(parser, arguments)
    between("--contexts", options.contexts, 2, 1000, whole=True)
    between("--epochs", options.epochs, 1, 100_000, whole=True)
    if options.quick:
        options.contexts, options.epochs, options.train = 3, 1, "phantom:4?first=50&height=112&width=152"
    weights = weights_folder(options.weights)
    scorer = Classifier.load(options.classifier or weights / CLASSIFIER).scorer(options.device)
    base = EnvConfig(theta=AUTO, standardise="core", cell_area=COARSE, beta=None).replace(
        **parse_settings(options.env, "--env")
    )
    source = open_source(options.data)
    boxes = EpisodePool(open_source(options.train) if options.train else source, base)
    pool = EpisodePool(source, boxes.config)
    theta = float(boxes.config.theta)
    records = record(pool, scorer, options.contexts, options.seeds[0])
    sections = [
        thetas_of_boxes(boxes, base, theta),
        score_table(records, theta),
        reward_table(records, theta),
    ]
    pictures = {"theta.png": theta_figure(records, theta)}
    averaged: dict[str, list[NDArray[np.float32]]] = {}
    if options.train:
        section, averaged = averaging(options, boxes, pool, scorer, theta)
        sections.append(section)
    if options.agent:
        sections.append(agent_table(options.agent, pool, records, theta, averaged))
    if records.has_masks and (weights / CONTOUR).exists():
        sections.append(beyond_prior(source, weights, scorer, base.replace(cell_area=FINE), options))
    pictures["maps.png"] = maps_figure(pool, records, theta, averaged.get(name_of(theta)))
    head = (
        f"What the rewards know: {without_folders(options.data)}, n = {len(source)} cases, classifier "
        f"{(options.classifier or weights).name}, superpixels of {base.cell_area:g} px², {SCALED[base.standardise]}"
    )
    ending = provenance({"source": without_folders(options.data), "seeds": options.seeds, **about(Path(__file__))})
    text = "\n\n".join([head, *sections, ending]) + "\n"
    write_texts({options.out / "table.md": text})
    save_figures(options.out, pictures)
    numbers = {"theta": theta, "records": records.summary(theta), "env": pool.config.to_dict()}
    write_json(options.out / "signal.json", numbers)
    print(text)
    return numbers


def thetas_of_boxes(boxes: EpisodePool, base: EnvConfig, theta: float) -> str:
    """Quantiles of the distances in the cores of the boxes, and the theta that they give."""
    distances = core_distances(boxes)
    cells = [f"{np.quantile(distances, each):.1f}" for each in QUANTILES]
    table = markdown_table([f"{each:.0%}" for each in QUANTILES], [cells])
    chosen = f"quantile {quantile_of(base.theta):g}" if isinstance(base.theta, str) else "as given"
    return (
        f"Distance of superpixels in the core from random sets erased before, grey levels, over {len(boxes)} boxes "
        f"(no mask is read); theta = {theta:.1f}, {chosen}:\n\n{table}"
    )


def score_table(records: Records, theta: float) -> str:
    """How the score answers an erasure, by place and by what was erased before."""
    groups = records.groups()
    head = ["erased before", *(f"{what}, {' / '.join(pair)}" for pair in pairs_of(groups) for what in COLUMNS)]
    head = [each.format(theta=theta) for each in head]
    rows = []
    for low, high in SHARES:
        when = (records.share > low) & (records.share <= high) if high else records.share == 0
        cells = []
        for pair in pairs_of(groups):
            for value in columns(records, theta):
                chosen = [value[when & groups[name]] for name in pair]
                cells.append(" / ".join("" if not own.size else f"{np.nanmean(own):.2f}" for own in chosen))
        rows.append(["nothing" if not high else f"{max(low, 0.01):.0%}-{high:.0%}", *cells])
    return f"Scores and intensity reward ({EXPLAINED}):\n\n{markdown_table(head, rows)}"


COLUMNS = ("P(score falls)", "mean sign(CSR)", "flagged, θ 25", "flagged, θ {theta:.0f}")
EXPLAINED = (
    "in, out: at least 70% inside, outside the mask; core, corner: by the box alone; flagged: distance above θ, as the "
    "intensity reward punishes"
)


def columns(records: Records, theta: float) -> list[NDArray[np.float64]]:
    """Values behind `COLUMNS`, (N,) each."""
    return [(records.sign > 0).astype(float), records.sign, records.flagged(25.0), records.flagged(theta)]


def pairs_of(groups: dict[str, Any]) -> list[tuple[str, str]]:
    """Places to compare."""
    return [pair for pair in (("in", "out"), ("core", "corner")) if pair[0] in groups]


def reward_table(records: Records, theta: float) -> str:
    """Mean reward by theta; erasing is right where it is positive."""
    groups = records.groups()
    head = ["θ", *(f"{' / '.join(pair)}" for pair in pairs_of(groups))]
    rows = []
    for each in (None, *sorted({*THETAS, theta})):
        values = records.rewards(each)
        cells = [" / ".join(f"{values[groups[name]].mean():+.2f}" for name in pair) for pair in pairs_of(groups)]
        rows.append(["no IDR" if each is None else f"{each:.4g}", *cells])
    return f"Mean reward of erasing (Eq. 2), all contexts:\n\n{markdown_table(head, rows)}"


def name_of(theta: float | None) -> str:
    """Of an averaging learner."""
    return "CSR alone" if theta is None else f"CSR + IDR, θ {theta:.4g}"


def averaging(
    options: argparse.Namespace, boxes: EpisodePool, pool: EpisodePool, scorer: Any, theta: float
) -> tuple[str, dict[str, list[NDArray[np.float32]]]]:
    """Dice of the averaging learners beside box, ellipse and oracle on the same superpixels; their values by name."""
    learnt = record(boxes, scorer, max(options.contexts // 2, 2), options.seeds[0] + 1)
    thetas = (None, *sorted({25.0, 45.0, 55.0, theta}))
    averager = Averager(len(thetas), options.epochs, options.seeds[0])
    values = averager.fit(boxes, learnt, [learnt.rewards(each) for each in thetas]).values(pool)
    found = {name_of(each): [own[number] for own in values] for number, each in enumerate(thetas)}
    erased: dict[str, Callable[[int], NDArray[np.bool_]]] = {
        "box": lambda index: np.ones(pool.episode(index).n_superpixels, np.bool_),
        "ellipse": lambda index: radii(pool.episode(index)) < 1,
        **{name: (lambda index, values=values: values[index] > 0) for name, values in found.items()},
        "oracle, reads the mask": lambda index: mostly_nodule(
            pool.episode(index), pool.case(index).mask, pool.config.canvas
        ),
    }
    rows = []
    for name, of in erased.items():
        fills, dices = zip(*(measured(pool, index, of(index)) for index in masked(pool)), strict=True) or ((), ())
        rows.append([name, f"{np.mean(dices):.4f} ± {np.std(dices, ddof=1):.3f}", f"{np.mean(fills):.2f}"])
    table = markdown_table(["erase where positive", f"Dice, n = {len(masked(pool))}", "share of the box"], rows)
    return f"Averaging learner, trained on {len(boxes)} boxes; superpixels, not tidied:\n\n{table}", found


def agent_table(
    folder: Path, pool: EpisodePool, records: Records, theta: float, averaged: dict[str, list[NDArray[np.float32]]]
) -> str:
    """Where an agent erases, against the sign of the mean reward and against the averaging learner, by place."""
    agent = load_agent(folder)
    own = EpisodePool(pool.source, walking(agent.env))
    if any((own.episode(index).labels != pool.episode(index).labels).any() for index in range(len(pool))):
        raise ConfigError(f"{folder} was trained on other superpixels; give its canvas and cell_area with --env")
    preferences = weights_of(agent, own)
    rewards = records.rewards(theta)
    values = [mean_by_superpixel(records, rewards, each, pool.episode(each).n_superpixels) for each in range(len(pool))]
    learner = averaged.get(name_of(theta))
    places = {"all": np.inf, "core": CORE}
    rows = []
    for name, reach in places.items():
        which = [radii(pool.episode(index)) < reach for index in range(len(pool))]
        erased, paid, expected = (
            np.concatenate([each[index][which[index]] > 0 for index in range(len(pool))])
            for each in (preferences, values, learner or values)
        )
        agreement = [f"{(erased == other).mean():.2f}" for other in (paid, expected)]
        rows.append([name, f"{erased.mean():.2f}", f"{paid.mean():.2f}", *(agreement if learner else agreement[:1])])
    head = ["superpixels", "erased by the agent", "mean reward positive", "agent agrees with it"]
    head += ["agrees with the averaging learner"] if learner else []
    return f"The agent in {folder.name}:\n\n{markdown_table(head, rows)}"


def masked(pool: EpisodePool) -> list[int]:
    """Episodes whose case has a mask."""
    return [index for index in range(len(pool)) if pool.case(index).mask is not None]


def measured(pool: EpisodePool, index: int, erased: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of the box that is erased, and Dice with the mask, in image pixels."""
    episode, case = pool.episode(index), pool.case(index)
    mask = mask_on_image((episode.labels >= 0) & erased[episode.labels], episode.geometry)
    return float(mask.sum() / (case.box.height * case.box.width)), dice(mask, case.mask)


def beyond_prior(source: Source, weights: Path, scorer: Any, env: EnvConfig, options: argparse.Namespace) -> str:
    """What both rewards add to the prior where it is unsure: logistic regression, folds by case."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    prior = find_prior(CONTOUR, weights, options.device)
    cases = [source.load(index) for index in range(len(source))]
    priors = [prior(case.image, case.box) for case in cases]
    pool = EpisodePool(Enriched(source, priors), env)
    rows, labels, groups = [], [], []
    for index in masked(pool):
        episode = pool.episode(index)
        sure = np.clip(episode.prior, 1e-3, 1 - 1e-3)
        unsure = np.flatnonzero((episode.prior > UNSURE[0]) & (episode.prior < UNSURE[1]))
        draw = np.random.default_rng([options.seeds[0], index])
        found = []
        for _ in range(4):  # contexts around the prior's own mask
            erased = (episode.prior > 0.5) ^ (draw.random(episode.n_superpixels) < 0.1)
            erased[unsure[draw.random(len(unsure)) < 0.5]] ^= True
            own = judge(episode, scorer, erased, unsure, pool)
            found.append(np.column_stack([own["fall"], np.nan_to_num(own["distance"])]))
        if len(unsure):
            rows.append(np.column_stack([np.log(sure / (1 - sure))[unsure], np.mean(found, axis=0)]))
            labels.append(mostly_nodule(episode, pool.case(index).mask, env.canvas)[unsure])
            groups.append(np.full(len(unsure), index))
    known, truth, group = np.concatenate(rows), np.concatenate(labels), np.concatenate(groups)
    folds = GroupKFold(min(FOLDS, len(set(group.tolist()))))
    cells = []
    for name, chosen in KNOWN.items():
        model = make_pipeline(StandardScaler(), LogisticRegression())
        share = cross_val_predict(model, known[:, chosen], truth, groups=group, cv=folds, method="predict_proba")[:, 1]
        cells.append([name, f"{roc_auc_score(truth, share):.3f}", f"{log_loss(truth, share):.3f}"])
    table = markdown_table(["known", "AUC", "log loss"], cells)
    return (
        f"Fine superpixels where the prior is unsure (mean within {UNSURE[0]}-{UNSURE[1]}; {len(truth)}, "
        f"{truth.mean():.0%} inside), each judged in four contexts around the prior's mask; "
        f"{folds.get_n_splits()} folds by case:\n\n{table}"
    )


KNOWN = {  # columns: log-odds of the prior, mean fall of the log-odds of the score, mean distance
    "prior": [0],
    "prior and CSR": [0, 1],
    "prior and IDR": [0, 2],
    "prior, CSR and IDR": [0, 1, 2],
    "CSR alone": [1],
    "IDR alone": [2],
}


if __name__ == "__main__":
    main()
