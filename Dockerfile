# The images of Holdfast, one target each: store, gateway, worker, db, operator, and for tests e2e
# and postgresql.
#
#   docker build --target store -t holdfast-store:0.1.0 .
#
# `make images` builds all of them; docs/howto/build-images.md tells about the arguments, and how to
# put your own workflows on top. Plain instructions only: docker, podman and buildah build it alike.
#
# Third-party packages are in /opt/venv, ours in /app/src. What changes often comes last: after a
# change of sources only the small layers with /app are made anew.

# Debian with Python 3.13; /opt/venv is made by the very Python that runs it.
ARG BASE_IMAGE=python:3.13-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
# 1 adds what restarts a process when its sources change, for development in a cluster.
ARG DEV=0

# What all images have in common: a user with a name, one folder to write to, no installer.
FROM ${BASE_IMAGE} AS runtime
RUN echo 'holdfast:x:10001:10001:Holdfast:/tmp:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'holdfast:x:10001:' >>/etc/group \
    && install -d -m 0755 /app \
    && install -d -m 0750 -o 10001 -g 10001 /data \
    && if python -m pip --version >/dev/null 2>&1; then \
        python -m pip uninstall --yes --quiet --root-user-action ignore pip; \
    fi \
    && rm -rf "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')/ensurepip" \
        /usr/share/python-wheels
# The root may be read-only: nothing is written beside the sources, and HOME is the writable /tmp.
ENV PATH=/app/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/app/src \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
LABEL org.opencontainers.image.source="https://holdfast.dev" \
    org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
USER 10001:10001

# Where packages are installed, each part's into an environment of its own, from its lock.
FROM ${BASE_IMAGE} AS installer
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/venv
COPY tools/install_locked.sh /build/
WORKDIR /build

FROM installer AS store-packages
COPY locks/store.lock locks/reload.lock ./
RUN sh install_locked.sh store.lock
ARG DEV
RUN [ "$DEV" != 1 ] || sh install_locked.sh reload.lock

FROM installer AS gateway-packages
COPY locks/gateway.lock locks/reload.lock ./
RUN sh install_locked.sh gateway.lock
ARG DEV
RUN [ "$DEV" != 1 ] || sh install_locked.sh reload.lock

FROM installer AS worker-packages
COPY locks/worker.lock locks/reload.lock ./
RUN sh install_locked.sh worker.lock
ARG DEV
RUN [ "$DEV" != 1 ] || sh install_locked.sh reload.lock

FROM installer AS db-packages
COPY locks/db.lock locks/reload.lock ./
RUN sh install_locked.sh db.lock
ARG DEV
RUN [ "$DEV" != 1 ] || sh install_locked.sh reload.lock

FROM installer AS operator-packages
COPY locks/operator.lock locks/reload.lock ./
RUN sh install_locked.sh operator.lock
ARG DEV
RUN [ "$DEV" != 1 ] || sh install_locked.sh reload.lock

FROM installer AS e2e-packages
COPY locks/e2e.lock ./
RUN sh install_locked.sh e2e.lock

# Where our packages are put together: the library, what all processes need, and one part.
FROM ${BASE_IMAGE} AS library
COPY tools/install_sources.py pyproject.toml LICENSE /build/
COPY sdk/holdfast /app/src/holdfast

FROM library AS chassis
COPY services/chassis/holdfast_chassis /app/src/holdfast_chassis

FROM chassis AS store-sources
COPY services/store/holdfast_store /app/src/holdfast_store
RUN python /build/install_sources.py /app

FROM chassis AS gateway-sources
COPY services/gateway/holdfast_gateway /app/src/holdfast_gateway
RUN python /build/install_sources.py /app

FROM chassis AS worker-sources
COPY services/worker/holdfast_worker /app/src/holdfast_worker
RUN python /build/install_sources.py /app

FROM chassis AS db-sources
COPY services/db/holdfast_db /app/src/holdfast_db
RUN python /build/install_sources.py /app

FROM chassis AS operator-sources
COPY services/operator/holdfast_operator /app/src/holdfast_operator
RUN python /build/install_sources.py /app

FROM library AS e2e-sources
COPY tests/e2e /app/tests/e2e
RUN python /build/install_sources.py /app

# The images. Listeners are open to the pod, and data goes where a volume is mounted; every setting
# can be given another value when the container is started.
FROM runtime AS store
ENV HOLDFAST_STORE_LISTEN=0.0.0.0:50051 \
    HOLDFAST_STORE_METRICS_LISTEN=0.0.0.0:9090 \
    HOLDFAST_STORE_DATABASE_URL=sqlite:////data/store.db
EXPOSE 50051 9090
ENTRYPOINT ["holdfast-store"]
CMD ["serve"]
COPY --from=store-packages /opt/venv /opt/venv
COPY --from=store-sources /app /app
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="holdfast-store" \
    org.opencontainers.image.description="The promise store of Holdfast, over gRPC" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"

FROM runtime AS gateway
ENV HOLDFAST_GATEWAY_LISTEN=0.0.0.0:8000 \
    HOLDFAST_GATEWAY_BRIDGE_LISTEN=0.0.0.0:8001 \
    HOLDFAST_GATEWAY_METRICS_LISTEN=0.0.0.0:9090
EXPOSE 8000 8001 9090
ENTRYPOINT ["holdfast-gateway"]
CMD ["serve"]
COPY --from=gateway-packages /opt/venv /opt/venv
COPY --from=gateway-sources /app /app
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="holdfast-gateway" \
    org.opencontainers.image.description="The gateway of Holdfast: REST, pages and the Resonate bridge" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"

FROM runtime AS worker
ENV HOLDFAST_WORKER_METRICS_LISTEN=0.0.0.0:9090
EXPOSE 9090
ENTRYPOINT ["holdfast-worker"]
CMD ["serve"]
COPY --from=worker-packages /opt/venv /opt/venv
COPY --from=worker-sources /app /app
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="holdfast-worker" \
    org.opencontainers.image.description="The workflow worker of Holdfast, with the example applications" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"

FROM runtime AS db
ENV HOLDFAST_DB_METRICS_LISTEN=0.0.0.0:9090 \
    HOLDFAST_DB_DATABASE_URL=sqlite:////data/application.db
EXPOSE 9090
ENTRYPOINT ["holdfast-db"]
CMD ["serve"]
COPY --from=db-packages /opt/venv /opt/venv
COPY --from=db-sources /app /app
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="holdfast-db" \
    org.opencontainers.image.description="The database worker of Holdfast" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"

FROM runtime AS operator
ENV HOLDFAST_OPERATOR_METRICS_LISTEN=0.0.0.0:9090
EXPOSE 9090
ENTRYPOINT ["holdfast-operator"]
CMD ["serve"]
COPY --from=operator-packages /opt/venv /opt/venv
COPY --from=operator-sources /app /app
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="holdfast-operator" \
    org.opencontainers.image.description="The Kubernetes operator of Holdfast" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"

FROM runtime AS e2e
ENTRYPOINT ["python", "-m", "tests.e2e.verify"]
COPY --from=e2e-packages /opt/venv /opt/venv
COPY --from=e2e-sources /app /app
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="holdfast-e2e" \
    org.opencontainers.image.description="Checks of a running Holdfast, from inside its cluster" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"

# Debian's PostgreSQL, as the chart dev-postgresql starts it, which says what is done in the
# containers: for development and tests, where nobody has a database at hand. It comes without the
# compiler of queries, which is half of it and of no use here. SIGINT ends it with its clients still
# connected; on SIGTERM it would wait for them.
FROM ${BASE_IMAGE} AS postgresql
RUN install -d /etc/postgresql-common \
    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
    && apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
        /usr/lib/postgresql/*/lib/llvmjit* /usr/lib/postgresql/*/lib/bitcode \
        /usr/lib/*/libLLVM* /usr/lib/*/libz3* \
    && ln -s /usr/lib/postgresql/*/bin /usr/lib/postgresql/bin \
    && echo 'holdfast:x:10001:10001:Holdfast:/tmp:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'holdfast:x:10001:' >>/etc/group \
    && install -d -m 0750 -o 10001 -g 10001 /data
ENV PATH=/usr/lib/postgresql/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PGDATA=/data/postgresql
EXPOSE 5432
STOPSIGNAL SIGINT
USER 10001:10001
ENTRYPOINT ["postgres"]
ARG VERSION REVISION CREATED
LABEL org.opencontainers.image.title="holdfast-postgresql" \
    org.opencontainers.image.description="PostgreSQL for development and tests of Holdfast" \
    org.opencontainers.image.licenses="PostgreSQL" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"
