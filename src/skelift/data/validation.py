"""The Great Expectations suite over a data set: what must hold, in plain words.

Poses are flattened to columns first (see ``measures``), so every expectation is a range of one
column. Exact copies, poses, cameras and leaks are looked at in every row; pixels in at most
``MOST_IMAGES`` rows of a split.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skelift.data.data_docs import make_offline
from skelift.data.format import Dataset
from skelift.data.measures import MOST_IMAGES, Table, measure
from skelift.errors import InputError
from skelift.files import atomic_folder, write_json


@dataclass(frozen=True)
class Rule:
    """A column of a table and the range that its values have to lie in.

    Attributes:
        says: the expectation in plain words.
        mostly: share of the rows that have to fulfil it.
        warning: a fault is reported and stops nothing.
    """

    table: str
    column: str
    says: str
    low: float | None = None
    high: float | None = None
    mostly: float = 1.0
    warning: bool = False


def _none(table: str, column: str, says: str, mostly: float = 1.0) -> Rule:
    """A rule against flagged or counted rows."""
    return Rule(table, column, says, low=0, high=0, mostly=mostly)


RULES = (
    _none("arrays", "wrong_rows", "every array has the rows that dataset.json counts"),
    _none("arrays", "wrong_joints", "poses have the skeleton's joints"),
    _none("arrays", "wrong_size", "images and masks have the data set's size"),
    _none("samples", "wrong_crop", "crop boxes are finite and not empty"),
    _none("samples", "person_shared", "train and test show different persons"),
    _none("samples", "clip_shared", "train and test come from different clips"),
    _none("samples", "time_overlaps", "test frames come after all training frames of their clip"),
    _none("samples", "copy", "images of a split differ from one another", mostly=0.99),
    _none("samples", "copy_of_other_split", "no image is both in train and in test"),
    _none("samples", "non_finite_2d", "2D joints are finite"),
    Rule("samples", "outside", "2D joints lie inside the crop, give or take 10 %", high=0.1),
    _none("samples", "non_finite_3d", "3D joints are finite"),
    Rule("samples", "depth_mm", "3D joints lie in front of the camera", low=1),
    Rule(
        "samples",
        "size_factor",
        "3D is in mm: bones are, in the mean, a third to three times the skeleton's",
        high=3,
    ),
    Rule(
        "samples",
        "bone_factor",
        "relative bone lengths are within a factor of 2.5 of the skeleton's",
        high=2.5,
    ),
    # A bone may span a joint that the skeleton leaves out: from thorax to nose it measures half its
    # length more or less with the chin up or down.
    Rule(
        "samples",
        "bone_drift",
        "relative bone lengths of one person stay within 60 % of their median",
        high=0.6,
    ),
    Rule(
        "samples",
        "reprojection",
        "3D joints project onto the 2D joints, to 1 % of the crop",
        high=0.01,
    ),
    _none(
        "samples",
        "twisted",
        "hips and shoulders name left and right alike (a turn beyond 90 degrees is rare)",
        mostly=0.98,
    ),
    _none("samples", "sides_jump", "left and right do not change over from one frame to the next"),
    Rule(
        "samples",
        "knee_bend",
        "knees bend forward, in the mean of a person: left and right are not exchanged",
        low=-0.02,
    ),
    Rule("images", "mask_coverage", "the mask covers 1 to 90 % of the crop", low=0.01, high=0.9),
    Rule("images", "background_level", "the background is black", high=4),
    Rule("images", "brightest", "images are not blank", low=16),
    Rule(
        "images",
        "off_body",
        "at most a tenth of the joints lie off the mask (grown by 4 % of the crop)",
        high=0.1,
        mostly=0.98,
    ),
    Rule("images", "likeness", "no test image nearly equals a training image", high=0.995),
    _none("prior", "wrong_crop", "crop boxes of the prior are finite and not empty"),
    _none("prior", "non_finite_2d", "prior poses are finite"),
    Rule("prior", "outside", "prior poses lie inside the crop, give or take 10 %", high=0.1),
    Rule("prior", "extent", "prior poses fill at least a third of the crop", low=1 / 3),
    _none("prior", "clip_shared", "prior poses come from other clips than the images"),
    Rule(
        "published",
        "frames_missing",
        "the set has the published number of frames, to 2 %",
        low=-0.02,
        high=0.02,
        warning=True,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What came of one rule.

    Attributes:
        table: table of the rule.
        column: column of the rule.
        says: the expectation in plain words.
        success: whether it holds.
        rows: rows that were looked at and know the property.
        unexpected: how many of them are out of range.
        examples: up to three of those.
        warning: a fault stops nothing.
    """

    table: str
    column: str
    says: str
    success: bool
    rows: int
    unexpected: int
    examples: tuple[str, ...]
    warning: bool = False

    @property
    def stops(self) -> bool:
        """Whether the data set cannot be used."""
        return not self.success and not self.warning


def validate(data: Dataset, out: Path) -> list[Outcome]:
    """Judge a data set; writes ``validation.json`` and the Data Docs (``index.html``) to ``out``.

    Raises:
        InputError: a file differs from its checksum, an expectation failed (the report is written
            even so), or Great Expectations is not installed.
    """
    data.verify()
    with atomic_folder(out) as folder:
        outcomes = _judge(measure(data), folder)
        make_offline(folder, f"Validation of data set {data.info.name}", outcomes)
        _report(data, outcomes, folder)
    for outcome in outcomes:
        if outcome.warning and not outcome.success:
            print(f"{data.folder}: warning: {_fault(outcome)}", file=sys.stderr)
    failed = [outcome for outcome in outcomes if outcome.stops]
    if failed:
        raise InputError(_complaint(data, failed, out))
    return outcomes


def _judge(tables: Mapping[str, Table], folder: Path) -> list[Outcome]:
    """Run the rules as a Great Expectations checkpoint a table; the Data Docs go to ``folder``."""
    gx = _great_expectations()
    import pandas

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    context.add_data_docs_site(site_name="docs", site_config=_site(folder))
    source = context.data_sources.add_pandas("skelift")
    outcomes = []
    for name, table in tables.items():
        rules = [rule for rule in RULES if rule.table == name and rule.column in table]
        suite = gx.ExpectationSuite(name, expectations=[_expectation(gx, rule) for rule in rules])
        definition = gx.ValidationDefinition(
            name=name,
            data=source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all"),
            suite=context.suites.add(suite),
        )
        checkpoint = gx.Checkpoint(
            name=name,
            validation_definitions=[context.validation_definitions.add(definition)],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])],
            result_format={"result_format": "SUMMARY", "unexpected_index_column_names": ["row"]},
        )
        frame = pandas.DataFrame(table)
        flags = frame.select_dtypes("bool").columns
        frame[flags] = frame[flags].astype(int)
        result = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
        (run,) = result.run_results.values()
        by_column = {r.expectation_config.kwargs["column"]: r for r in run.results}
        outcomes += [_outcome(rule, by_column[rule.column]) for rule in rules]
    return outcomes


def _great_expectations() -> Any:
    """Import the library, with its telemetry off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    try:
        import great_expectations
    except ImportError:
        raise InputError(
            "validate needs Great Expectations; install it with: pip install 'skelift[pipeline]'"
        ) from None
    return great_expectations


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.absolute()),
        },
    }


def _expectation(gx: Any, rule: Rule) -> Any:
    return gx.expectations.ExpectColumnValuesToBeBetween(
        column=rule.column,
        min_value=rule.low,
        max_value=rule.high,
        mostly=rule.mostly,
        description=rule.says,
    )


def _outcome(rule: Rule, result: Any) -> Outcome:
    found = result.result
    if not found:
        raise RuntimeError(f"{rule.column} could not be checked: {result.exception_info}")
    return Outcome(
        table=rule.table,
        column=rule.column,
        says=rule.says,
        success=bool(result.success),
        rows=found["element_count"] - found["missing_count"],
        unexpected=found["unexpected_count"],
        examples=tuple(
            f"{example['row']}: {rule.column} {float(example[rule.column]):.4g}"
            for example in found.get("partial_unexpected_index_list", [])[:3]
        ),
        warning=rule.warning,
    )


def _report(data: Dataset, outcomes: Sequence[Outcome], folder: Path) -> None:
    write_json(
        folder / "validation.json",
        {
            "data": data.info.name,
            "success": not any(outcome.stops for outcome in outcomes),
            "counts": data.counts,
            "images_looked_at_per_split": MOST_IMAGES,
            "expectations": [asdict(outcome) for outcome in outcomes],
        },
    )


def _complaint(data: Dataset, failed: Sequence[Outcome], out: Path) -> str:
    first, others = failed[0], len(failed) - 1
    more = f" (and {others} more failed)" if others else ""
    return (
        f"{data.folder}: {_fault(first)}{more}; mend or remove them, all are in "
        f"{out / 'index.html'}"
    )


def _fault(outcome: Outcome) -> str:
    example = f", such as {outcome.examples[0]}" if outcome.examples else ""
    return (
        f"expected that {outcome.says}, but {outcome.unexpected} of {outcome.rows} rows "
        f"fail{example}"
    )
