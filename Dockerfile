# A server of predictions from an exported folder, on CPUs; it is not root and writes nothing.
#
#   numclip export --run runs/... --output exported
#   docker build --tag numclip .
#   docker run --rm --read-only --cap-drop ALL --publish 8000:8000 --env NUMCLIP_API_KEY=secret \
#       --volume "$PWD/exported:/model:ro" numclip
FROM python:3.12-slim AS build
# Another version of both: --build-arg TORCH=... --build-arg TORCHVISION=...
ARG TORCH=2.14.1
ARG TORCHVISION=0.29.1
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/numclip
ENV PATH="/opt/numclip/bin:$PATH"
# PyTorch for CPUs: a tenth of the size of that for GPUs.
RUN pip install --index-url https://download.pytorch.org/whl/cpu "torch==$TORCH" "torchvision==$TORCHVISION"
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY src src
COPY configs configs
# The version of what is here is in the source.
# hadolint ignore=DL3013
RUN pip install '.[serve]'

FROM python:3.12-slim
RUN useradd --system --no-create-home --uid 10001 numclip
COPY --from=build /opt/numclip /opt/numclip
ENV PATH="/opt/numclip/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8000
# /ready answers 503 until the decoders have started.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
# As the process itself, so that SIGTERM reaches it and what is in flight is answered.
ENTRYPOINT ["numclip", "serve", "--host=0.0.0.0", "--port=8000"]
CMD ["--model=/model"]
