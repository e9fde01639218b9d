"""``python -m skelift.reporting FOLDER``: the scores of a run again, and where its report is."""

import sys
from pathlib import Path

from skelift.reporting.report import METRICS, REPORT, read_metrics
from skelift.reporting.tables import print_scores

reports = Path(sys.argv[1])
print_scores(read_metrics(reports / METRICS))
print(f"Report: {reports / REPORT}")
