# The demo in a container: two cores and 16 GB, no GPU, no network once it is built.
#
#     docker build -t ckf-demo .
#     docker run --rm -p 7860:7860 ckf-demo
#
# Where pip would choose a GPU build of PyTorch that you do not want, name PyTorch's index of CPU
# builds: --build-arg PIP_EXTRA_INDEX_URL=...
FROM python:3.11-slim-bookworm

# 1000 is the user that hosted Spaces run containers as.
RUN useradd --create-home --uid 1000 ckf
WORKDIR /home/ckf/app
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Requirements first: they change seldom, so their layer is kept.
COPY requirements.txt ./
ARG PIP_EXTRA_INDEX_URL
RUN pip install --requirement requirements.txt

# Owned by root: who gets into the server cannot change what it runs.
COPY . ./
RUN pip install --no-deps --editable .

USER ckf
# Data and backbone, so that a container starts without a network.
RUN python -m ckf_demo prepare && python -m ckf_demo prepare --dataset ml-latest-small

ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "app.py"]
