# What builds stays in the first stages; the others hold Python and the service, and that of `--target commands` the AWS
# CLI for commands of the policy file, that of `--target lambda` the client of Lambda's runtime. The digest is that of the index of all platforms; Dependabot proposes the next one.

FROM python:3.13-slim@sha256:8d9d0b8bcf6506481eae4907c18f5e3e7902e629f5f6d684f9e7c32e85e3ddf0 AS build
WORKDIR /src
COPY requirements.txt requirements-build.txt ./
# The environment gets no pip of its own: this stage's pip fills it from outside.
RUN python -m venv --without-pip /opt/archiver \
    && pip install --no-cache-dir --require-hashes -r requirements-build.txt \
    && pip --python /opt/archiver/bin/python install --no-cache-dir --only-binary=:all: --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY archiver ./archiver
RUN hatchling build -t wheel -d /dist \
    && pip --python /opt/archiver/bin/python install --no-cache-dir --no-index --no-deps /dist/*.whl

FROM build AS build-commands
COPY requirements-commands.txt ./
# An environment of its own: it needs other versions than the service.
RUN python -m venv --without-pip /opt/aws \
    && pip --python /opt/aws/bin/python install --no-cache-dir --only-binary=:all: --require-hashes -r requirements-commands.txt

FROM build AS build-lambda
COPY requirements-lambda.txt ./
RUN pip --python /opt/archiver/bin/python install --no-cache-dir --only-binary=:all: --require-hashes -r requirements-lambda.txt

FROM python:3.13-slim@sha256:8d9d0b8bcf6506481eae4907c18f5e3e7902e629f5f6d684f9e7c32e85e3ddf0 AS service
LABEL org.opencontainers.image.title="archiver" \
      org.opencontainers.image.description="Turns objects in S3 into one zip, on request" \
      org.opencontainers.image.licenses="MIT"
RUN python -m pip uninstall --yes --root-user-action=ignore pip \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin archiver
COPY --from=build /opt/archiver /opt/archiver
ENV PATH=/opt/archiver/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HEARTBEAT_FILE=/dev/shm/archiver.heartbeat
# Memory, even where the root file system is read-only.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["archiver", "health"]
# By number: orchestrators that forbid root can't look names up.
USER 10001
STOPSIGNAL SIGTERM
# No shell between: the worker is process 1 and gets the signal itself.
ENTRYPOINT ["archiver"]
CMD ["run"]

# docker build --target commands: docs/commands-as-jobs.md.
FROM service AS commands
COPY --from=build-commands /opt/aws /opt/aws
ENV PATH=/opt/archiver/bin:/opt/aws/bin:/usr/local/bin:/usr/bin:/bin

# docker build --target lambda: docs/lambda.md. Lambda asks for no health, and starts the handler itself.
FROM service AS lambda
COPY --from=build-lambda /opt/archiver /opt/archiver
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "awslambdaric"]
CMD ["archiver.awslambda.handler"]

# The last stage is what is built without a target.
FROM service
