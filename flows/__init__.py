"""Contains the Prefect flows, which define the order of the steps: one file per flow, and modules that they share.

If a flow is run as a command (`python -m flows.audit_registry`), this package is imported before Prefect, so the
settings of an embedded server are made here. A server that is already running has its own. Existing environment
variables win.
"""

import os

_EMBEDDED_SERVER = {
    # Otherwise a new server's heartbeat races its migrations: "database is locked", with a traceback.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The default of 20 s is too short for the first start on a slow machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # With the defaults a server silently drops task-run records if they arrive faster than it writes them one by one.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # A lease in memory is lost when the server ends, and its slot then stays taken forever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
# An embedded server that is stopped during a write logs a traceback, and writes again. Important errors are in its
# responses, and the console belongs to the command. A separate server has its own log.
_ON_OUR_CONSOLE = {"PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"}

# A compose file passes an unset variable as an empty URL, which Prefect takes for an unreachable server.
if not os.environ.get("PREFECT_API_URL", "none"):
    del os.environ["PREFECT_API_URL"]

for _name, _value in (_EMBEDDED_SERVER | _ON_OUR_CONSOLE).items():
    os.environ.setdefault(_name, _value)

if "PREFECT__FLOW_RUN_ID" in os.environ:  # a process that a worker started for a run
    from flows.console import outlive_reader

    outlive_reader()
