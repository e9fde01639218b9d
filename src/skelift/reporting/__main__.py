"""``python -m skelift.reporting FOLDER``: a run's scores and times again, and its report's path."""

import sys
from pathlib import Path

from skelift.reporting.report import METRICS, REPORT, TIMES, read_metrics
from skelift.reporting.tables import print_scores, print_times
from skelift.times import read_costs

reports = Path(sys.argv[1])
print_scores(read_metrics(reports / METRICS))
print_times(read_costs(reports / TIMES))
print(f"Report: {reports / REPORT}")
