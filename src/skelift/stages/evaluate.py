"""Stage: a model -> its scores beside those of the baselines, and the images of the report."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skelift.config import Config, each_variant
from skelift.data.chosen import chosen_dataset, note_other_truth
from skelift.data.format import Dataset, Split
from skelift.data.hold_out import spread
from skelift.data.measures import has_truth_file
from skelift.errors import InputError
from skelift.evaluation.baselines import Bench, mean_of_test_poses, own_lifter
from skelift.evaluation.kept_baselines import predictions
from skelift.evaluation.label_free import label_free_score
from skelift.evaluation.metrics import p_mpjpe, relative
from skelift.evaluation.predictions import Predicted, predict_split, skeleton_images, steadied
from skelift.evaluation.scores import protocol, score
from skelift.evaluation.selection import COURSE, LABEL_FREE, rank_correlations
from skelift.files import write_json
from skelift.models.io import load_model, snapshots
from skelift.models.pipeline import PosePipeline
from skelift.reporting.predictions import Predictions, choose_images
from skelift.reporting.tables import print_scores
from skelift.training.distributed import join
from skelift.weights import model_folder


def run(config: Config) -> Path:
    """Score the model (or each of ``variants``) on the test images of ``paths.data``.

    Baselines are trained here, on the same data, and scored by the same functions; what they
    predict is kept in ``paths.reports`` for the next model. Where the truth is a file of labels,
    the mean pose of the test images and the model's own lifter on true 2D stand in their place, and
    scores have intervals. Without true joints there are no baselines, and the label-free scores
    alone. Writes ``metrics.json`` and ``predictions.npz`` in ``paths.reports``.
    """
    data = chosen_dataset(config)
    note_other_truth(config, data)
    test, reports = data.split("test"), Path(config.paths.reports)
    fps, rows = config.evaluate.film_fps, dict[str, Any]()
    course: list[dict[str, Any]] = []
    with join(config.train.device) as world, world.claimed(reports, by="evaluate"):
        for variant_name, variant in each_variant(config):
            name = variant_name or "skelift"
            pipeline, card = load_model(model_folder(variant.paths.model), world.device)
            _check_skeleton(pipeline, data, variant.paths.model)
            _check_size(int(card["size"]), data, variant.paths.model)
            _check_units(pipeline, variant)
            predicted = predict_split(pipeline, test, world.device, config.evaluate.batch)
            if fps is not None:
                predicted = steadied(pipeline, test, predicted, world.device, fps)
            rows[name] = _scores(data, test, predicted)
            course += _course(name, variant, data, test, world.device)
        shown = _shown(config, pipeline, test, predicted, world.device)
        if test.joints_3d_mm is not None and has_truth_file(data):
            # No training image has a true pose: nothing can learn from them.
            rows["test_mean_pose"] = _scores(data, test, mean_of_test_poses(test))
            if test.joints_2d is not None:
                lifted = own_lifter(pipeline, test, predicted, data.info.size)
                rows["own_lifter"] = _scores(data, test, lifted)
        elif test.joints_3d_mm is not None:
            bench = Bench(config, data, world.device)
            for baseline in config.evaluate.baselines:
                rows[baseline] = _scores(data, test, predictions(bench, baseline))
    metrics: dict[str, Any] = {
        "protocol": protocol(data.skeleton, data.info.size),
        "data": {
            "name": data.info.name,
            "synthetic": data.info.synthetic,
            "train_images": data.counts.get("train", 0),
            "test_images": data.counts["test"],
            "prior_poses": data.counts.get("prior", 0),
            "size": data.info.size,
            **({} if fps is None else {"film_fps": fps}),
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
        pipeline, _ = load_model(model_folder(config.paths.model), device, file)
        predicted = predict_split(pipeline, some, device, config.evaluate.batch)
        scores = _scores(data, some, predicted)["overall"]
        shown = {key: scores[key] for key in (*COURSE, *LABEL_FREE) if key in scores}
        course.append({"model": name, "step": step, **shown})
    return course


def _check_size(size: int, data: Dataset, model: str) -> None:
    """InputError unless the model sees images of this size: it would read others badly."""
    if size != data.info.size:
        raise InputError(
            f"{model}: a model of images of {size} px, and those of {data.folder} have "
            f"{data.info.size} px; prepare them with data.size={size}"
        )


def _check_units(pipeline: PosePipeline, config: Config) -> None:
    """InputError unless the model lifts in the configured units, as baselines beside it do."""
    units, asked = pipeline.core.units, config.model.units
    if units != asked:
        raise InputError(
            f"{config.paths.model}: lifts in {units} units, but model.units={asked}; set "
            f"model.units={units}"
        )


def _check_skeleton(pipeline: PosePipeline, data: Dataset, model: str) -> None:
    skeleton = pipeline.core.skeleton
    if skeleton.joints != data.skeleton.joints:
        raise InputError(
            f"{model}: its skeleton is {skeleton.name}, that of {data.folder} "
            f"{data.skeleton.name}; prepare the data set with skeleton={skeleton.name}"
        )


def _scores(data: Dataset, test: Split, predicted: Predicted) -> dict[str, Any]:
    samples = test.samples
    labels: dict[str, Any] = {}
    if has_truth_file(data):
        moments = zip(samples["clip"], samples["frame"], strict=True)
        labels = {
            "cameras": samples["camera"],
            "moments": np.array([f"{clip} {frame}" for clip, frame in moments]),
            "mm_per_px": _mm_per_px(test, data.info.size),
            "height_mm": data.info.details.get("height_mm"),
        }
    scores = score(
        data.skeleton,
        samples["activity"],
        **labels,
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
        data.prior.poses_2d if data.has_prior else None,
    )
    return {**scores, "overall": {**scores["overall"], **label_free}}


def _mm_per_px(test: Split, size: int) -> NDArray[np.float64] | None:
    """(N,) what a pixel of the crop measures at the labelled joints' mean depth, where known."""
    focal = test.samples["focal"][:, 0].astype(np.float64)
    if test.joints_3d_mm is None or not np.isfinite(focal).all():
        return None
    depth = np.nanmean(test.joints_3d_mm[..., 2].astype(np.float64), axis=1)
    scale: NDArray[np.float64] = test.samples["crop"][:, 2] / size * depth / focal
    return scale


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
        true_3d = relative(true_3d[rows], true_3d[rows], root).astype(np.float32)
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
