#!/bin/sh
# The work pool and every deployment of prefect.yaml. Harmless to run again.
set -eu
cd "$(dirname "$0")/.."
prefect work-pool inspect registry-audit >/dev/null 2>&1 || prefect work-pool create registry-audit --type process
prefect --no-prompt deploy --all
