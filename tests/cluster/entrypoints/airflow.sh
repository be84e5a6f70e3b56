#!/bin/bash
# Stands for the entry point of the image apache/airflow: what is no shell and no Python is a command of Airflow's.
# That one also waits for the database and the broker; here depends_on alone does.
set -euo pipefail
case "$1" in
  bash | python) exec "$@" ;;
  *) exec airflow "$@" ;;
esac
