#!/bin/sh
# The work pool, every deployment of prefect.yaml with only the parameters that it has, and the limit of the audits on
# registration. Harmless to run again.
set -eu
cd "$(dirname "$0")/.."
prefect() { python -m prefect "$@"; } # finds what is in the checkout, also where only the wheel is installed
prefect work-pool inspect registry-audit >/dev/null 2>&1 || prefect work-pool create registry-audit --type process
prefect block register --module tasks.registry_block
prefect --no-prompt deploy --all
python -m flows.strict_forms
prefect work-queue set-concurrency-limit registrations 2 --pool registry-audit
