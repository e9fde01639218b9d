"""Validation of a data set with Great Expectations: every rule is a range of one column.

Copies, poses, cameras and leaks are checked in every row, pixels in at most ``MOST_IMAGES`` rows
of a split.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skelift.data.data_docs import make_offline
from skelift.data.format import Dataset
from skelift.data.measures import MOST_IMAGES, measure_dataset
from skelift.data.rules import RULES, Outcome, Rule
from skelift.data.table import Table
from skelift.errors import InputError
from skelift.files import atomic_folder, write_json

REPORT = "validation.json"
# Patterns of all that its folder holds.
FILES = (REPORT, "index.html", "expectations/*.html", "validations/**/*.html")


def validate(data: Dataset, out: Path) -> list[Outcome]:
    """Judge a data set; writes ``validation.json`` and the Data Docs (``index.html``) to ``out``.

    Raises:
        InputError: a file differs from its checksum, an expectation failed (the report is written
            even so), or Great Expectations is not installed.
    """
    data.verify()
    with atomic_folder(out, *FILES) as folder:
        outcomes = _judge(measure_dataset(data), folder)
        make_offline(folder, f"Validation of data set {data.info.name}", outcomes)
        report = {
            "data": data.info.name,
            "success": not any(outcome.stops for outcome in outcomes),
            "counts": data.counts,
            "images_looked_at_per_split": MOST_IMAGES,
            "expectations": [outcome.as_json() for outcome in outcomes],
        }
        write_json(folder / REPORT, report)
    failed = [outcome for outcome in outcomes if outcome.stops]
    stopped = {(outcome.rule.table, outcome.rule.column) for outcome in failed}
    for outcome in outcomes:
        said = (outcome.rule.table, outcome.rule.column) in stopped  # by a stricter rule
        if outcome.rule.warning and not outcome.success and not said:
            print(f"{data.folder}: warning: {outcome.fault()}", file=sys.stderr)
    if failed:
        more = f" (and {len(failed) - 1} more failed)" if len(failed) > 1 else ""
        raise InputError(
            f"{data.folder}: {failed[0].fault()}{more}; correct or remove them, all are in "
            f"{out / 'index.html'}"
        )
    return outcomes


def _judge(tables: Mapping[str, Table], folder: Path) -> list[Outcome]:
    """Run the rules, one Great Expectations checkpoint per table; Data Docs go to ``folder``."""
    gx = _great_expectations()
    import pandas

    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.absolute()),
        },
    }
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    context.add_data_docs_site(site_name="docs", site_config=site)
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
        by_rule = {_key(**r.expectation_config.kwargs): r for r in run.results}
        outcomes += [
            _outcome(rule, by_rule[_key(rule.column, rule.low, rule.high)]) for rule in rules
        ]
    return outcomes


def _key(
    column: str, min_value: float | None = None, max_value: float | None = None, **_: Any
) -> tuple[str, float | None, float | None]:
    """What tells one rule of a table from another."""
    return column, min_value, max_value


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
        rule=rule,
        success=bool(result.success),
        rows=found["element_count"] - found["missing_count"],
        unexpected=found["unexpected_count"],
        examples=tuple(
            f"{example['row']}: {rule.column} {float(example[rule.column]):.4g}"
            for example in found.get("partial_unexpected_index_list", [])[:3]
        ),
    )
