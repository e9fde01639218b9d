"""Images -> a released model: the stages of ``dvc.yaml`` on Kubeflow, with a sweep and a gate."""

from typing import Any

from kfp import dsl, kubernetes

from components.configure.component import configure
from components.evaluate.component import evaluate
from components.gate.component import gate
from components.package.component import package
from components.prepare.component import prepare
from components.pretrain_flow.component import pretrain_flow
from components.sweep.component import choose, trial
from components.train.component import train
from components.validate.component import validate

S3_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
USER = 10001  # of the images
TRIALS_AT_ONCE = 4


@dsl.pipeline(
    name="skelift",
    description="3D pose from one image, learned from unlabelled images and unpaired 2D poses.",
)
def skelift(
    experiment: str = "quickstart",
    overrides: list = [],  # type: ignore[type-arg] # noqa: B006 (kfp reads the default)
    data_uri: str = "",
    data_version: str = "1",
    flow_steps: int = 0,
    train_steps: int = 0,
    sweep: bool = False,
    sweep_trials: int = 8,
    gate_threshold: float = 0.0,
    champion: str = "/checkpoints/champion",
    checkpoints: str = "/checkpoints",
    checkpoints_claim: str = "skelift-checkpoints",
    s3_secret: str = "skelift-s3",  # noqa: S107 (a name)
    gpu_type: str = "nvidia.com/gpu",
    gpu_count: str = "1",
    gpu_node_selector: dict = {},  # type: ignore[type-arg] # noqa: B006
    gpu_tolerations: list = [  # type: ignore[type-arg] # noqa: B006
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ],
) -> None:
    """Make, check and release a model.

    Args:
        experiment: name of an experiment (quickstart, paper, ...).
        overrides: more of the configuration, as on the command line: ["train.batch=32"].
        data_uri: s3://... of a data set or of images and poses. Empty: the experiment renders its
            own people.
        data_version: change it when the data at data_uri have changed.
        flow_steps: steps of the flow pretraining; 0: as the experiment has them.
        train_steps: steps of the training; 0: as the experiment has them.
        sweep: search for better weights first.
        sweep_trials: trials of the search.
        gate_threshold: share of the champion's score by which a model has to be better.
        champion: s3://... or a folder of the claim, where the released model lies.
        checkpoints: s3://... or a folder of the claim.
        checkpoints_claim: name of the PersistentVolumeClaim mounted at /checkpoints.
        s3_secret: name of the secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
            AWS_ENDPOINT_URL; it may be absent where nothing is s3://.
        gpu_type: resource name of the GPU.
        gpu_count: GPUs of the training's pod.
        gpu_node_selector: labels of the nodes that have the GPUs.
        gpu_tolerations: taints of these nodes that are tolerated.
    """

    def place(task: dsl.PipelineTask, *, cache: bool, retries: int = 0) -> dsl.PipelineTask:
        """What every step has: an own user, keys by the secret's name, explicit caching."""
        task.set_caching_options(cache)
        task.set_cpu_request("1").set_memory_request("2Gi").set_memory_limit("16Gi")
        if retries:
            task.set_retry(
                retries, backoff_duration="10s", backoff_factor=2, backoff_max_duration="300s"
            )
        kubernetes.set_security_context(
            task, run_as_user=USER, run_as_group=USER, run_as_non_root=True
        )
        kubernetes.use_secret_as_env(
            task, s3_secret, {name: name for name in S3_VARIABLES}, optional=True
        )
        return task

    def with_claim(task: dsl.PipelineTask) -> dsl.PipelineTask:
        kubernetes.mount_pvc(task, pvc_name=checkpoints_claim, mount_path="/checkpoints")
        return task

    def on_gpu(task: dsl.PipelineTask) -> dsl.PipelineTask:
        task.set_accelerator_type(gpu_type).set_accelerator_limit(gpu_count)
        # kfp 2.17 does not hand these two on to the conditions and loops around the task.
        channels: Any = [gpu_type, gpu_count]
        task.register_pipeline_channels(channels)
        kubernetes.add_node_selector_json(task, gpu_node_selector)
        kubernetes.add_toleration_json(task, gpu_tolerations)
        # Processes of one training share memory there; a pod's own /dev/shm has 64 MiB.
        kubernetes.empty_dir_mount(
            task,
            volume_name="shm",
            mount_path="/dev/shm",  # noqa: S108 (a mount of the pod)
            medium="Memory",
            size_limit="4Gi",
        )
        return task

    def finish(config: Any) -> None:
        """From a configuration to a released model."""
        inputs = {"config": config, "data": data.outputs["data"], "flow": flow.outputs["flow"]}
        trained = train(**inputs, checkpoints=checkpoints).set_display_name("train")
        with_claim(on_gpu(place(trained, cache=True, retries=3)))
        model = trained.outputs["model"]
        scored = evaluate(**inputs, model=model).set_display_name("evaluate")
        place(scored, cache=True, retries=2)
        judged = gate(
            **inputs,
            scores=scored.outputs["scores"],
            champion=champion,
            threshold=gate_threshold,
        ).set_display_name("gate")
        with_claim(place(judged, cache=False, retries=2))
        with dsl.If(judged.outputs["better"] == True, name="better"):  # noqa: E712
            packed = package(
                model=model, scores=scored.outputs["scores"], champion=champion
            ).set_display_name("package")
            with_claim(place(packed, cache=False, retries=2))

    configured = configure(
        experiment=experiment,
        overrides=overrides,
        train_steps=train_steps,
        flow_steps=flow_steps,
        sweep_trials=sweep_trials,
    )
    place(configured, cache=True)
    config = configured.outputs["config"]
    data = prepare(config=config, data_uri=data_uri, data_version=data_version)
    place(data, cache=True, retries=2)
    # Bad data are bad when tried again, too.
    checked = place(validate(config=config, data=data.outputs["data"]), cache=True)
    flow = pretrain_flow(config=config, data=data.outputs["data"]).after(checked)
    place(flow, cache=True, retries=2)

    with dsl.If(sweep == True, name="sweep"):  # noqa: E712
        with dsl.ParallelFor(
            configured.outputs["trials"], name="trials", parallelism=TRIALS_AT_ONCE
        ) as number:
            tried = trial(
                config=config,
                data=data.outputs["data"],
                flow=flow.outputs["flow"],
                number=number,
                checkpoints=checkpoints,
            )
            with_claim(on_gpu(place(tried, cache=True, retries=3)))
        chosen = choose(config=config, results=dsl.Collected(tried.outputs["result"]))
        place(chosen, cache=True)
        finish(chosen.outputs["best"])
    with dsl.Else(name="no-sweep"):
        finish(config)
