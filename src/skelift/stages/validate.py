"""Stage: judge a data set before anything is trained on it."""

from pathlib import Path

from skelift.config import Config


def run(config: Config) -> Path:
    """Check ``paths.data``; writes ``paths.reports``/validation with ``index.html``.

    Returns:
        The folder of the report.

    Raises:
        InputError: a file is missing or changed, the skeleton is not the configuration's, or an
            expectation failed; of the last the report is written even so.
    """
    from skelift.data.chosen import note_other_truth
    from skelift.data.format import Dataset
    from skelift.data.validation import FILES, validate
    from skelift.errors import InputError
    from skelift.files import check_replaceable, claimed

    data = Dataset(config.paths.data)
    if data.skeleton.joints != config.body.joints:
        raise InputError(
            f"{data.folder}: its poses are of skeleton {data.skeleton.name}, not "
            f"{config.body.name}; choose skeleton={data.skeleton.name}"
        )
    note_other_truth(config, data)
    out = Path(config.paths.reports) / "validation"
    check_replaceable(out, *FILES)
    with claimed(out, by="validate", beside=True):
        validate(data, out)
    return out
