"""Stage ``report``: scores, curves and predictions on one page."""

from pathlib import Path

from skelift.config import Config, to_yaml


def run(config: Config) -> Path:
    """Write ``report.html`` and its figures beside the metrics.

    Reads ``metrics.json`` and ``predictions.npz`` of ``paths.reports`` and ``stats.jsonl`` of
    ``paths.model`` (or of each variant's folder in it) unless ``train.steps`` is 0; InputError
    where one is missing or broken.
    """
    from skelift.files import claimed
    from skelift.reporting.curves import read_statistics
    from skelift.reporting.report import write_report
    from skelift.weights import SHIPPED_NAME

    # Of the package's model no curves are kept, and fitting heads alone (train.steps=0) has none.
    trained = config.paths.model != SHIPPED_NAME and config.train.steps > 0
    statistics = read_statistics(Path(config.paths.model)) if trained else {}
    reports = Path(config.paths.reports)
    with claimed(reports, by="report"):
        return write_report(reports, statistics, config.body, to_yaml(config))
