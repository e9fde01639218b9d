"""Parameters of a run -> one composed configuration."""

from kfp import dsl
from kfp.dsl import Artifact, Output

from components.common import step


@dsl.container_component
def configure(
    config: Output[Artifact],
    trials: dsl.OutputPath(list),  # type: ignore[valid-type]
    experiment: str,
    overrides: list,  # type: ignore[type-arg]
    train_steps: int = 0,
    flow_steps: int = 0,
    sweep_trials: int = 8,
) -> dsl.ContainerSpec:
    """Compose the configuration that all later steps take.

    A wrong key, value or experiment ends the run here, after seconds, with one line.

    Args:
        config: params.yaml.
        trials: numbers of the sweep's trials, from 0.
        experiment: name of an experiment of skelift/conf/experiment.
        overrides: KEY=VALUE or GROUP=CHOICE, as on the command line.
        train_steps: steps of the training; 0: as the experiment has them.
        flow_steps: steps of the flow pretraining; 0: as the experiment has them.
        sweep_trials: how many trials a sweep has.
    """
    return step("configure")
