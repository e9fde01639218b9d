# One definition, three images: cpu and gpu run the pipeline's steps, serve makes and serves archives.
#
#   docker build --target cpu --tag skelift:0.1.0-cpu .
#
# Wheels in wheels/ are taken before any index, and with --build-arg PIP_ARGS=--no-index no index is
# asked at all (scripts/docker_local.sh does so). Nothing is installed when a container runs.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS runtime
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="skelift" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# The root file system may be read-only: whatever caches goes to /tmp.
ENV PATH=/opt/skelift/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONUNBUFFERED=1
WORKDIR /tmp

FROM ${BASE_IMAGE} AS manifest
COPY pyproject.toml README.md LICENSE /project/
# What the dependencies hang on, and an empty package: their layers stay cached while all else changes.
RUN sed -i '/^\[tool/,$d' /project/pyproject.toml \
 && mkdir -p /project/src/skelift && touch /project/src/skelift/__init__.py \
 && : > /project/README.md

FROM ${BASE_IMAGE} AS builder
ENV PATH=/opt/skelift/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_PROGRESS_BAR=off \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/skelift
# wheel[s]: the folder need not be there.
COPY requirements.lock wheel[s] /wheels/
COPY --from=manifest /project /project

FROM builder AS wheel
ARG PIP_ARGS
COPY pyproject.toml README.md LICENSE /project/
COPY src /project/src
RUN pip wheel ${PIP_ARGS} --find-links /wheels --no-deps --wheel-dir /dist /project

FROM builder AS builder-cpu
ARG PIP_ARGS
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install ${PIP_ARGS} --find-links /wheels --extra-index-url ${TORCH_INDEX} \
      --constraint /wheels/requirements.lock '/project[pipeline,s3,sweep]' \
 && pip uninstall --quiet --yes skelift

FROM runtime AS cpu
COPY --from=builder-cpu /opt/skelift /opt/skelift
COPY --from=wheel /dist /dist
RUN pip install --no-cache-dir --no-index --no-deps /dist/*.whl && rm -r /dist
USER 10001:10001
CMD ["skelift", "--help"]

# Only what serve has more than cpu is copied: torch is in both.
FROM builder-cpu AS builder-serve
ARG PIP_ARGS
RUN touch /before && mkdir /more \
 && pip install ${PIP_ARGS} --find-links /wheels --constraint /wheels/requirements.lock \
      '/project[pipeline,s3,serve]' \
 && pip uninstall --quiet --yes skelift \
 && cd / && find opt/skelift -cnewer /before ! -type d -print0 \
      | tar --create --null --files-from - | tar --extract --directory /more

FROM cpu AS serve
USER 0:0
COPY --from=builder-serve /more /
USER 10001:10001
EXPOSE 8080 8082
HEALTHCHECK --interval=15s --timeout=20s --start-period=180s CMD ["skelift", "ready"]
# Who may ask is the network's matter: publish the port to those only, or add --tokens.
CMD ["skelift", "serve", "/archives/skelift.mar", "--host=0.0.0.0", "--no-tokens", "--grace=10"]

# PyPI's torch brings CUDA.
FROM builder AS builder-gpu
ARG PIP_ARGS
RUN pip install ${PIP_ARGS} --find-links /wheels --constraint /wheels/requirements.lock \
      '/project[pipeline,s3,sweep]' \
 && pip uninstall --quiet --yes skelift

FROM runtime AS gpu
COPY --from=builder-gpu /opt/skelift /opt/skelift
COPY --from=wheel /dist /dist
RUN pip install --no-cache-dir --no-index --no-deps /dist/*.whl && rm -r /dist
USER 10001:10001
CMD ["skelift", "--help"]
