"""Prefect flows: the order of the steps. A file for each flow, and beside them what they share.

This package is imported before Prefect where a flow is run as a command (`python -m flows.audit_registry`), so this is
where an embedded server gets its settings; a server that runs already has its own. What the environment says wins.
"""

import os

_EMBEDDED_SERVER = {
    # Without it a fresh server's heartbeat races its migrations: "database is locked", with a traceback.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The default of 20 s is too short for the first start on a slow machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # With the defaults a server drops task-run records in silence once more come in than it writes one by one.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # In memory, a lease is lost when the server ends, and its slot is taken for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
# Stopped in the middle of a write it logs a traceback, and writes again. What matters comes as an answer, and the
# console is the command's; a server of its own has a log.
_ON_OUR_CONSOLE = {"PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"}

# An empty URL, as a compose file passes on an unset variable, is to Prefect a server that it cannot reach.
if not os.environ.get("PREFECT_API_URL", "none"):
    del os.environ["PREFECT_API_URL"]

for _name, _value in (_EMBEDDED_SERVER | _ON_OUR_CONSOLE).items():
    os.environ.setdefault(_name, _value)

if "PREFECT__FLOW_RUN_ID" in os.environ:  # a process that a worker started for a run
    from flows.console import outlive_reader

    outlive_reader()
