FROM python:3.13.14-slim-bookworm AS build
RUN python -m venv /venv
COPY requirements.txt /build/
RUN /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /build/requirements.txt
# Nothing is fetched that no lock pins: the wheel is built with what requirements-build.txt names.
COPY requirements-build.txt /build/
RUN python -m venv /builder && \
    /builder/bin/pip install --no-cache-dir --no-deps --require-hashes -r /build/requirements-build.txt
COPY setup.cfg pyproject.toml MANIFEST.in README.md LICENSE /build/
COPY src /build/src
COPY db /build/db
RUN /builder/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index --wheel-dir /wheels /build && \
    /venv/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.13.14-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home fleetwatt
COPY --from=build /venv /venv
WORKDIR /app
USER 10001
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    FLEETWATT_HOST=0.0.0.0 \
    FLEETWATT_AUTH=required
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["fleetwatt", "serve"]
