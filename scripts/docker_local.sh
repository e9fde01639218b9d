#!/usr/bin/env bash
# Docker on this machine, and skelift's images in it.
#
#   scripts/docker_local.sh up       # a daemon that answers: the machine's own, or one started here
#   scripts/docker_local.sh images   # build skelift:VERSION-cpu and -serve
#   scripts/docker_local.sh status   # the address of a daemon that answers, or nothing
#   scripts/docker_local.sh down     # end the daemon that `up` started; images are kept
#
# `up` prints the daemon's address. On Debian, as root, it installs Docker Engine when it is missing and
# runs it with a socket and a data folder of its own, under SKELIFT_DOCKER (default
# /var/lib/skelift-docker): no bridge, no firewall rules, so it also runs inside virtual machines that
# allow neither. Exit code 3: there is no Docker here, and none can be started.
#
# The CPU build of torch comes from the folder that PIP_FIND_LINKS names, or, with
# SKELIFT_TORCH_BACKEND=cpu, from PyTorch's index.
#
# BASE_IMAGE names the base of the images. Without it a daemon started here gets one made by
# debootstrap, since it may not reach a registry; any other daemon takes the Dockerfile's default.
set -euo pipefail
cd "$(dirname "$0")/.."

STATE=${SKELIFT_DOCKER:-/var/lib/skelift-docker}
SOCKET=$STATE/docker.sock
OWN_BASE=skelift-base:bookworm
NO_DOCKER=3
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
PYTHON=${PYTHON:-.venv/bin/python}

say() { echo "docker_local: $*" >&2; }

# Docker's client of Debian, where another program of that name comes first in PATH.
docker() {
  if [ -x /usr/bin/docker ]; then /usr/bin/docker "$@"; else command docker "$@"; fi
}

answers() { DOCKER_HOST=$1 docker info >/dev/null 2>&1; }

# The address of a daemon that answers, or nothing.
address() {
  local host
  for host in "unix://$SOCKET" "${DOCKER_HOST:-unix:///var/run/docker.sock}"; do
    if answers "$host"; then echo "$host"; return; fi
  done
}

can_start() {
  if [ "$(uname -s)" != Linux ] || [ ! -e /etc/debian_version ] || [ "$(id -u)" != 0 ]; then
    say "no Docker daemon answers, and only root on Debian can start one here"
    return 1
  fi
}

install_missing() {
  local missing=()
  command -v dockerd >/dev/null || missing+=(docker.io)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

start_daemon() {
  mkdir -p "$STATE"
  # No score below the parent's: not every machine lets root ask for that.
  nohup dockerd --data-root "$STATE/data" --exec-root "$STATE/exec" -H "unix://$SOCKET" \
    --pidfile "$STATE/pid" --bridge=none --iptables=false --ip6tables=false --ip-forward=false \
    --oom-score-adjust 0 >"$STATE/dockerd.log" 2>&1 &
  for _ in $(seq 60); do
    if answers "unix://$SOCKET"; then return; fi
    sleep 1
  done
  say "the daemon did not come up; the end of $STATE/dockerd.log:"
  tail -n 5 "$STATE/dockerd.log" >&2
  return 1
}

up() {
  local host
  host=$(address)
  if [ -z "$host" ]; then
    can_start || exit $NO_DOCKER
    install_missing || { say "Docker Engine cannot be installed here"; exit $NO_DOCKER; }
    start_daemon || exit $NO_DOCKER
    host=unix://$SOCKET
  fi
  echo "$host"
}

down() {
  if [ -e "$STATE/pid" ]; then
    local pid
    pid=$(cat "$STATE/pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 30); do kill -0 "$pid" 2>/dev/null || return 0; sleep 1; done
    say "the daemon (process $pid) does not end"
    return 1
  fi
}

make_base() {
  docker image inspect "$OWN_BASE" >/dev/null 2>&1 && return
  say "making $OWN_BASE"
  local tree
  tree=$(mktemp -d "$STATE/base.XXXXXX")
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
    bookworm "$tree" >"$STATE/debootstrap.log"
  rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,locale}
  tar --create --directory "$tree" . | docker import --change 'CMD ["/bin/sh"]' - "$OWN_BASE" >&2
  rm -rf "$tree"
}

# Wheels are fetched here, by this machine's pip with its own certificates, indexes and PIP_FIND_LINKS,
# so that none of these goes into an image and the build needs no network. They are kept for other clones.
fetch_wheels() {
  local torch=${SKELIFT_TORCH_BACKEND:-} kept new
  kept=${XDG_CACHE_HOME:-$HOME/.cache}/skelift/wheels-$(sha256sum <requirements.lock | cut -c1-12)
  if [ ! -e "$kept" ]; then
    say "fetching wheels (minutes)"
    mkdir -p "$(dirname "$kept")"
    new=$(mktemp -d "$kept.XXXXXX")
    # With every version named, pip has nothing to resolve, and reads each index once.
    UV_FIND_LINKS=${PIP_FIND_LINKS:-} "$PYTHON" -m uv pip compile --quiet --no-header --no-annotate \
      --python-version 3.11 --extra pipeline --extra s3 --extra serve --extra sweep \
      ${torch:+--torch-backend "$torch"} --constraint requirements.lock \
      --output-file "$new/wanted.txt" pyproject.toml
    "$PYTHON" -m pip wheel --quiet --quiet --no-deps --wheel-dir "$new" \
      ${torch:+--extra-index-url "https://download.pytorch.org/whl/$torch"} -r "$new/wanted.txt" >&2
    "$PYTHON" -m pip wheel --quiet --quiet --wheel-dir "$new" hatchling >&2
    mv "$new" "$kept"
  fi
  rm -rf wheels
  cp -rl "$kept" wheels 2>/dev/null || cp -r "$kept" wheels
}

images() {
  local host base=${BASE_IMAGE:-} target
  host=$(up)
  export DOCKER_HOST=$host DOCKER_BUILDKIT=0
  if [ -z "$base" ] && [ "$host" = "unix://$SOCKET" ]; then
    make_base
    base=$OWN_BASE
  fi
  fetch_wheels
  [ $# -gt 0 ] || set -- cpu serve
  for target in "$@"; do
    say "building skelift:$VERSION-$target"
    docker build --quiet --network=none --target "$target" --tag "skelift:$VERSION-$target" \
      --build-arg "VERSION=$VERSION" --build-arg PIP_ARGS=--no-index \
      ${base:+--build-arg "BASE_IMAGE=$base"} . >&2
  done
}

case ${1:-} in
  up) up ;;
  images) shift; images "$@" ;;
  down) down ;;
  status) address ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
