# The image that every Airflow process of docker-compose.yml runs; the target `demo` adds the sandbox.
# Slim: Airflow's core alone, so that constraints.txt decides on everything else. Python 3.11 is what the tests run on.
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.11

FROM ${AIRFLOW_IMAGE} AS build
COPY --chown=airflow:0 pyproject.toml README.md LICENSE /tmp/source/
COPY --chown=airflow:0 plugins /tmp/source/plugins
# The package becomes a wheel. Airflow's plugins folder must not hold it: Airflow imports every module of that folder
# again, by its bare name. So the folder gets only modules that stand beside the package.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /tmp/wheels /tmp/source \
    && mkdir /tmp/plugins \
    && find /tmp/source/plugins -maxdepth 1 -name '*.py' -exec cp {} /tmp/plugins/ \;

FROM ${AIRFLOW_IMAGE} AS production
# Before the code, so that a change of code does not install them again. `-e .` is the checkout's; the wheel stands for it.
RUN --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \
    --mount=type=bind,source=requirements-celery.txt,target=/tmp/requirements-celery.txt \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    sed '/^-e /d' /tmp/requirements.txt > /tmp/requirements-image.txt \
    && pip install --no-cache-dir -r /tmp/requirements-image.txt -r /tmp/requirements-celery.txt -c /tmp/constraints.txt \
    && rm /tmp/requirements-image.txt
# Without the entry point the connection type has no form: better no image than that one. It is asked for without
# Airflow, which would write a configuration with fresh keys into the image.
RUN --mount=type=bind,from=build,source=/tmp/wheels,target=/tmp/wheels \
    pip install --no-cache-dir --no-deps /tmp/wheels/*.whl \
    && python -c 'from importlib.metadata import distribution as d; d("airflow-provider-capillary").entry_points["provider_info"].load()()'
# A volume takes its owner from the directory that the image has in its place.
RUN mkdir --parents --mode=0770 /opt/airflow/passwords
# Owned by root: no task can rewrite a campaign.
COPY --from=build --chown=root:0 --chmod=0755 /tmp/plugins /opt/airflow/plugins
COPY --chown=root:0 --chmod=0755 dags /opt/airflow/dags
USER airflow

FROM production AS demo
RUN mkdir --mode=0770 /opt/airflow/books
COPY --chown=root:0 --chmod=0755 sandbox /opt/airflow/sandbox
WORKDIR /opt/airflow
