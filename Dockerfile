# For x86_64: SQLite without the WAL-reset bug comes in a wheel that is not published for other Linux machines.
FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements.txt requirements-build.txt ./
RUN python -m venv /opt/rts \
    && /opt/rts/bin/pip install --no-cache-dir --require-hashes -r requirements.txt \
    && pip install --no-cache-dir --require-hashes -r requirements-build.txt
COPY pyproject.toml ./
COPY rts rts
COPY templates templates
RUN python -m hatchling build --target wheel --directory /build/dist \
    && /opt/rts/bin/pip install --no-cache-dir --no-index --no-deps /build/dist/rts-*.whl

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/rts --create-home --shell /usr/sbin/nologin rts
COPY --from=build /opt/rts /opt/rts
ENV PATH=/opt/rts/bin:$PATH PYTHONUNBUFFERED=1 RTS_HOME=/var/lib/rts RTS_HOST=0.0.0.0
USER 10001
# Database, keyring and sealed lists, so that a new image finds them again. Back it up; see the operator's guide.
WORKDIR /var/lib/rts
VOLUME /var/lib/rts
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# Starts the web server and the scheduler, two processes, and ends when either does.
CMD ["rts", "serve"]
