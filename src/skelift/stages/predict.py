"""Stage: pictures -> poses, with a trained model."""

from collections.abc import Iterator
from pathlib import Path

import cv2
from rich.progress import track

from skelift.data.pictures import read_mask, read_picture
from skelift.errors import InputError
from skelift.files import atomic_file, write_json
from skelift.predictor import Picture, Prediction, Predictor
from skelift.reporting.draw import draw_prediction

BATCH = 32
DEFAULT_MODEL = Path("models/quickstart/model")


def run(
    images: list[Path],
    model: Path | None,
    out: Path,
    draw: Path | None = None,
    masks: Path | None = None,
    focal: float | None = None,
) -> Path:
    """Predict the pose of each picture and write one JSON file.

    Args:
        images: pictures of one body each.
        model: folder of a trained model; None takes the quickstart's.
        out: JSON file to write.
        draw: folder for one drawing a picture.
        masks: folder of masks with the pictures' stems; NAME.mask.png beside a picture counts too.
        focal: focal length in pixels of the pictures, where known.

    Raises:
        InputError: a picture, mask or the model is missing or broken; nothing is written then.
    """
    predictor = Predictor(model or DEFAULT_MODEL)
    pictures = [(path, read_picture(path)) for path in images]
    if not pictures:
        raise InputError("no pictures given; name at least one")
    named = [
        (str(path), prediction)
        for path, prediction in track(
            _predict(predictor, pictures, masks, focal), "predict", len(pictures)
        )
    ]
    write_json(out, predictor.answer(named))
    if draw:
        for (path, picture), (_, prediction) in zip(pictures, named, strict=True):
            _draw(draw / f"{path.stem}.png", picture, prediction, predictor)
    return out


def _predict(
    predictor: Predictor,
    pictures: list[tuple[Path, Picture]],
    masks: Path | None,
    focal: float | None,
) -> Iterator[tuple[Path, Prediction]]:
    for start in range(0, len(pictures), BATCH):
        chunk = pictures[start : start + BATCH]
        prepared = []
        for path, picture in chunk:
            try:
                prepared.append(predictor.prepare(picture, _mask(path, picture, masks), focal))
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
        for (path, _), prediction in zip(chunk, predictor.predict(prepared), strict=True):
            yield path, prediction


def _mask(path: Path, picture: Picture, masks: Path | None) -> Picture | None:
    if masks is None:
        beside = path.with_suffix(".mask.png")
        return read_mask(beside, picture) if beside.exists() else None
    found = sorted(masks.glob(f"{path.stem}.*"))
    if not found:
        raise InputError(f"{masks}: no mask for {path.name}; add {path.stem}.png")
    return read_mask(found[0], picture)


def _draw(file: Path, picture: Picture, prediction: Prediction, predictor: Predictor) -> None:
    drawn = draw_prediction(
        picture, prediction.joints_2d, prediction.joints_3d_mm, predictor.skeleton
    )
    encoded = cv2.imencode(".png", drawn[..., ::-1])[1]
    with atomic_file(file) as unfinished:
        unfinished.write_bytes(encoded.tobytes())
