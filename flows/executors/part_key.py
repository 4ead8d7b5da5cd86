"""Keeps the key of a fanned-out audit in a Prefect Secret block. Its workers read it there; the database never has it.

A flow parameter would work as well, but everybody who can see Prefect sees parameters.
"""

import hashlib
import secrets
from contextlib import suppress
from typing import Any

from prefect.blocks.system import Secret
from pydantic import SecretStr

from registry_audit.errors import Transient, UsageError
from tasks.configuration import asked

_KEY_BYTES = 32


def make_key(audit_id: str) -> bytes:
    """Return the key of an audit. A new audit gets a new key; a resumed one keeps its key.

    Raises:
        Transient: the Prefect server does not answer.
    """
    with suppress(UsageError):
        return key_of(audit_id)
    secret: Any = Secret(value=SecretStr(secrets.token_hex(_KEY_BYTES)))
    asked(lambda: secret.save(_block(audit_id), overwrite=True, _sync=True))
    return key_of(audit_id)


def key_of(audit_id: str) -> bytes:
    """Return the key of an audit that was fanned out.

    Raises:
        UsageError: no audit with this id is fanned out.
        Transient: the Prefect server does not answer.
    """
    load: Any = Secret.load
    try:
        return bytes.fromhex(str(asked(lambda: load(_block(audit_id), _sync=True)).get()))
    except ValueError:  # raised by Prefect if there is no such block
        raise UsageError(f"no audit {audit_id} is fanned out") from None


def forget_key(audit_id: str) -> None:
    delete: Any = Secret.delete
    with suppress(ValueError, Transient):  # the key is useless after the audit
        asked(lambda: delete(_block(audit_id), _sync=True))


def _block(audit_id: str) -> str:
    return f"registry-audit-part-{hashlib.sha256(audit_id.encode()).hexdigest()[:20]}"
