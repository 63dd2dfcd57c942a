# syntax=docker/dockerfile:1
# The default build runs on CPU and on CUDA: the registry's Linux wheels of torch carry the CUDA libraries.
# For a CPU image some gigabytes smaller, name an index that serves CPU builds of torch AND torchvision:
#   docker build --build-arg TORCH_INDEX=<index URL> .
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/lipserve
ENV PATH=/opt/lipserve/bin:$PATH
WORKDIR /src
COPY pyproject.toml requirements.lock requirements-dev.lock README.md LICENSE ./
# torch and torchvision come together from one index: a mismatched pair breaks onnx2torch at import.
RUN if [ -n "$TORCH_INDEX" ]; then \
        grep -vE '^(nvidia-|cuda-|triton)' requirements.lock > cpu.lock \
        && pip install --requirement cpu.lock --extra-index-url "$TORCH_INDEX"; \
    else \
        pip install --requirement requirements.lock; \
    fi
COPY setup.py ./
COPY app ./app
# What the extras add is pinned where the tests' own packages are.
RUN pip install --constraint requirements-dev.lock ".[cluster,s3]"

FROM python:${PYTHON_VERSION}-slim
LABEL org.opencontainers.image.title="lipserve" org.opencontainers.image.licenses="Apache-2.0"
# libseccomp confines the children; its version is Debian's, which gets the security fixes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libseccomp2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/lipserve lipserve \
    && install --directory --owner lipserve --group lipserve /var/lib/lipserve-blobs
COPY --from=build /opt/lipserve /opt/lipserve
ENV PATH=/opt/lipserve/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LIPSERVE_DATA_DIR=/var/lib/lipserve/data \
    LIPSERVE_HOST=0.0.0.0
USER 10001
WORKDIR /var/lib/lipserve
VOLUME /var/lib/lipserve
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["lipserve", "serve"]
