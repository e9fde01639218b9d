"""Stage: a model -> its scores beside those of the baselines, and the images of the report."""

from pathlib import Path
from typing import Any

import torch

from skelift.config import Config, each_variant
from skelift.data.chosen import chosen_dataset
from skelift.data.format import Dataset, Split
from skelift.data.hold_out import spread
from skelift.evaluation.baselines import BASELINES, Bench
from skelift.evaluation.label_free import label_free_score
from skelift.evaluation.metrics import p_mpjpe
from skelift.evaluation.predictions import Predicted, predict_split, skeleton_images
from skelift.evaluation.scores import protocol, score
from skelift.evaluation.selection import COURSE, LABEL_FREE, rank_correlations
from skelift.files import write_json
from skelift.models.io import load_model, snapshots
from skelift.models.pipeline import PosePipeline
from skelift.reporting.predictions import Predictions, choose_images
from skelift.reporting.tables import print_scores
from skelift.training.distributed import join


def run(config: Config) -> Path:
    """Score the model (or each of ``variants``) on the test images of ``paths.data``.

    Baselines are trained here, on the same data, and scored by the same functions. Without true
    joints there are no baselines, and the label-free scores alone. Writes ``metrics.json`` and
    ``predictions.npz`` in ``paths.reports``.
    """
    data = chosen_dataset(config)
    test, reports = data.split("test"), Path(config.paths.reports)
    rows: dict[str, Any] = {}
    course: list[dict[str, Any]] = []
    with join(config.train.device) as world, world.claimed(reports, by="evaluate"):
        for variant_name, variant in each_variant(config):
            name = variant_name or "skelift"
            pipeline, _ = load_model(Path(variant.paths.model), world.device)
            predicted = predict_split(pipeline, test, world.device, config.evaluate.batch)
            rows[name] = _scores(data, test, predicted)
            course += _course(name, variant, data, test, world.device)
        shown = _shown(config, pipeline, test, predicted, world.device)
        if test.joints_3d_mm is not None:
            bench = Bench(config, data, world.device)
            for baseline in config.evaluate.baselines:
                rows[baseline] = _scores(data, test, BASELINES[baseline](bench))
    metrics: dict[str, Any] = {
        "protocol": protocol(data.skeleton, data.info.size),
        "data": {
            "name": data.info.name,
            "synthetic": data.info.synthetic,
            "train_images": data.counts["train"],
            "test_images": data.counts["test"],
            "prior_poses": data.counts["prior"],
            "size": data.info.size,
        },
        "model": name,
        "rows": rows,
    }
    if course:
        metrics["selection"] = {"snapshots": course}
        if test.joints_3d_mm is not None:
            metrics["selection"]["rank_correlation"] = rank_correlations(course)
    shown.save(reports / "predictions.npz")
    write_json(reports / "metrics.json", metrics)
    print_scores(metrics)
    return reports / "metrics.json"


def _course(
    name: str, config: Config, data: Dataset, test: Split, device: torch.device
) -> list[dict[str, Any]]:
    """What tells of a training's course, over its snapshots and some of the test images."""
    some = spread(test, config.evaluate.snapshot_images)
    course = []
    for step, file in snapshots(Path(config.paths.checkpoints)).items():
        pipeline, _ = load_model(Path(config.paths.model), device, file)
        predicted = predict_split(pipeline, some, device, config.evaluate.batch)
        scores = _scores(data, some, predicted)["overall"]
        shown = {key: scores[key] for key in (*COURSE, *LABEL_FREE) if key in scores}
        course.append({"model": name, "step": step, **shown})
    return course


def _scores(data: Dataset, test: Split, predicted: Predicted) -> dict[str, Any]:
    scores = score(
        data.skeleton,
        test.samples["activity"],
        predicted_3d_mm=predicted.joints_3d_mm,
        true_3d_mm=test.joints_3d_mm,
        predicted_2d_px=predicted.joints_2d,
        true_2d_px=test.joints_2d,
    )
    label_free = label_free_score(
        data.skeleton,
        predicted.joints_2d,
        predicted.joints_3d_mm,
        test.masks[:],
        test.samples["person"],
    )
    return {**scores, "overall": {**scores["overall"], **label_free}}


def _shown(
    config: Config, pipeline: PosePipeline, test: Split, predicted: Predicted, device: torch.device
) -> Predictions:
    """Images drawn at random, and those with the largest P-MPJPE (the paper's Fig. 5)."""
    true_2d, true_3d, errors = test.joints_2d, test.joints_3d_mm, None
    if true_3d is not None:
        errors = p_mpjpe(predicted.joints_3d_mm, true_3d)
    count = config.evaluate.shown
    clips, seed = test.samples["clip"], config.train.seed
    rows, kind = choose_images(clips, errors, samples=count, worst=count, seed=seed)
    if true_3d is not None:
        root = pipeline.core.skeleton.root_index
        true_3d = true_3d[rows] - true_3d[rows][:, root : root + 1]
    return Predictions(
        images=test.images[rows],
        skeleton_images=skeleton_images(pipeline, test, rows, device),
        joints_2d=predicted.joints_2d[rows],
        joints_3d_mm=predicted.joints_3d_mm[rows],
        activity=test.samples["activity"][rows],
        kind=kind,
        joints_2d_true=None if true_2d is None else true_2d[rows],
        joints_3d_true_mm=true_3d,
        p_mpjpe_mm=None if errors is None else errors[rows],
    )
