#!/usr/bin/env bash
# The full-size model, from rendering to report, on one GPU:
#
#   scripts/full_size.sh RESULTS [SECONDS] [OVERRIDES of experiment=full... [-- OVERRIDES of lifters...]]
#
# First the image networks with all heads (experiment=full), then Lambda, which gets stuck on those
# poses: it learns plain, then captured, then varied poses, and the mean of the first and the last
# replaces the model's. Each call goes on where the last one stopped, and ends with code 0 after
# SECONDS (540) or, with "done" as its last line, when all is finished. What is worth keeping lies in
# RESULTS: weights, curves, metrics, the report, and a log with the time of each stage. All else stays in
# data/ and models/; for another train.seed, move models/full, models/full_whole and reports/full away.
# SKELIFT_DATA is the folder of people_clothed.npz and cmu_mocap_12fps.npz (docs/datasets.md).
#
# A dry run on a CPU, with twenty steps: scripts/full_size.sh RESULTS 540 $(scripts/full_size.sh --dry)
set -euo pipefail

dry=(
  data.synth.prior=256 model.width=4 model.disc_width=4 model.disc_scales=1 model.lifter_width=32
  loss.lifted_prior=32 train.steps=20 train.interval=10 train.checkpoint_every=10
  train.snapshot_every=0 flow.steps=20
)
dry_full=(
  data.size=48 data.synth.train=256 data.synth.test=32 train.batch=8 heads.upright.steps=20
  heads.refiner.steps=20 heads.pose_facing.steps=20 heads.front_back.steps=20
  heads.joint_facing.steps=20 evaluate.shown=2 'evaluate.baselines=[mean_pose]'
)
if [ "${1:-}" = --dry ]; then
  echo "${dry[*]} ${dry_full[*]} -- ${dry[*]}"
  exit
fi
if [ $# -lt 1 ]; then
  sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

results=$1 seconds=${2-540}
if ! [[ $seconds =~ ^[1-9][0-9]{0,6}$ ]]; then
  echo "full_size.sh: SECONDS is '$seconds'; give a whole number, 1 or more, before any overrides" >&2
  exit 2
fi
shift $(($# < 2 ? $# : 2))
full=(experiment=full)
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  full+=("$1")
  shift
done
lifters=("${@:2}")
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$results"
log=$results/stages.log

# stage NAME DONE OVERRIDES...: run a stage unless the file DONE is there already. It gets the time
# that is left; a training that it ends goes on from its last checkpoint in the next call.
stage() {
  local name=$1 done=$2 began=$SECONDS left=$((seconds - SECONDS)) status=0
  if [ -e "$done" ]; then return; fi
  if [ "$left" -lt 5 ]; then stop "$name"; fi
  timeout --signal=INT --kill-after=20 "$left" python3 -m skelift "$name" "${@:3}" \
    train.dvclive=false train.restart=true || status=$?
  echo "$(date -u +%FT%TZ) $name ${3#experiment=}: $((SECONDS - began)) s, exit code $status" |
    tee -a "$log"
  collect
  if [ "$status" = 124 ] || [ "$status" = 130 ] || [ "$status" = 137 ]; then stop "$name"; fi
  if [ "$status" != 0 ]; then exit "$status"; fi
}

stop() {
  collect
  echo "$1: out of time; call this again to go on" | tee -a "$log"
  exit 0
}

collect() {
  local file
  for file in models/full_whole/* models/full/checkpoints/stats.jsonl reports/full/metrics.json \
    reports/full/report.html; do
    if [ -f "$file" ]; then cp -p "$file" "$results"; fi
  done
}

# trained NAME OVERRIDES...: a data set's poses, their flow, and a training on them.
trained() {
  local name=$1
  stage prepare "data/$name/dataset.json" "${@:2}"
  stage pretrain-flow "models/$name/flow/flow.safetensors" "${@:2}"
  stage train "models/$name/model/model.json" "${@:2}"
}

# From weights that are right already.
on=(train.lifter_learning_rate=0.0005 loss.cycle_weight_init=1 loss.cycle_weight_steps=0)

trained full "${full[@]}"
trained lifter_plain experiment=lifter_plain "${lifters[@]}"
trained lifter experiment=lifter train.start=models/lifter_plain/model "${on[@]}" "${lifters[@]}"
trained lifter_varied experiment=lifter_varied "${lifters[@]}"
whole=models/full_whole
if [ ! -e $whole/model.json ]; then
  (export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} && python3 -m scripts.swap_lifter \
    models/full/model models/lifter_plain/model models/lifter_varied/model --out $whole)
fi
stage evaluate reports/full/metrics.json "${full[@]}" paths.model=$whole
stage report reports/full/report.html "${full[@]}"
echo "done" | tee -a "$log"
