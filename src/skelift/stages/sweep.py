"""Stage: a search space -> the configuration that the final training takes."""

from datetime import UTC, datetime
from pathlib import Path

from skelift.config import Config


def run(config: Config) -> Path:
    """Search ``config.sweep.space``, or do one part of a search that others run.

    - As it is: the whole search, on this machine, one trial after the other.
    - ``sweep.trial=N``: trial N alone; N = 0 is the configuration as it stands.
    - ``sweep.results=[FILE or FOLDER, ...]``: no trial; the winner of trials run elsewhere.

    Returns:
        ``paths.reports``/sweep/best.yaml, a whole configuration (``skelift train --config``), or,
        of one trial, its ``trial-NNNNN.json``.

    Raises:
        InputError: a space, metric or result that cannot be used; nothing is trained then.
        RunError: no trial came to a score.
    """
    from skelift.data.chosen import chosen_dataset
    from skelift.files import check_folder
    from skelift.sweep.space import check_sweep, trial_values
    from skelift.sweep.trial import read_trials, run_trial, write_best, write_trial

    sweep, out = config.sweep, Path(config.paths.reports) / "sweep"
    check_sweep(config)
    check_folder(out)
    if sweep.results:
        return write_best(out, config, read_trials(sweep.results))
    chosen_dataset(config)  # a missing data set is told before a study is begun
    if sweep.trial is None:
        from skelift.sweep.study import search

        return write_best(out, config, search(config, out))

    def tell(score: float, step: int) -> bool:
        """One line as Katib's collector reads it: RFC 3339 time, name=value."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        print(f"{now} step={step} {sweep.score}={score:.6g}", flush=True)
        return False

    values = trial_values(sweep, sweep.trial)
    trial = run_trial(config, sweep.trial, values, f"trial {sweep.trial}", tell)
    assert trial is not None  # nothing prunes it
    return write_trial(out, trial)
