#!/bin/bash
# Stands for the entry point of the image redis: its server does not run as root.
set -euo pipefail
cd /data
chown 999:999 /data
exec setpriv --reuid 999 --regid 999 --clear-groups "$@"
