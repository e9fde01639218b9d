"""What kfp.local 2.17 does otherwise than a cluster, fixed for this process."""

from typing import Any


def fix_kfp_local() -> None:
    """Make kfp.local run loops and conditions as a cluster does.

    - Iterations of a loop share a folder there: they have to come one after the other.
    - A condition inside another sees no output of a task unless it is called ``Output``; others
      count as missing, and the condition as false.
    """
    from kfp.local.orchestrator import enhanced_dag_orchestrator as orchestrator

    resolve = orchestrator.ConditionEvaluator._resolve_pipeline_channel

    def one_at_a_time(executor: Any, max_workers: int | None = None) -> None:
        executor.conservative_max = executor.max_workers = 1

    def resolve_named_too(channel: str, store: Any) -> Any:
        task, _, output = channel.removeprefix("pipelinechannel--").rpartition("-")
        try:
            return store.get_task_output(task, output)
        except (KeyError, ValueError):
            return resolve(channel, store)

    orchestrator.ParallelExecutor.__init__ = one_at_a_time
    orchestrator.ConditionEvaluator._resolve_pipeline_channel = staticmethod(resolve_named_too)
