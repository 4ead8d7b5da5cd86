"""The key of one fanned-out audit, in a Secret block of Prefect: its workers read it, and the database never has it.

A parameter would do the same, and everybody who sees Prefect sees parameters.
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
    """The key of an audit that begins; one that is resumed has its key already.

    Raises:
        Transient: the Prefect server does not answer.
    """
    with suppress(UsageError):
        return key_of(audit_id)
    secret: Any = Secret(value=SecretStr(secrets.token_hex(_KEY_BYTES)))
    asked(lambda: secret.save(_block(audit_id), overwrite=True, _sync=True))
    return key_of(audit_id)


def key_of(audit_id: str) -> bytes:
    """
    Raises:
        UsageError: no audit of this id is fanned out.
        Transient: the Prefect server does not answer.
    """
    load: Any = Secret.load
    try:
        return bytes.fromhex(str(asked(lambda: load(_block(audit_id), _sync=True)).get()))
    except ValueError:  # Prefect's word for: there is no such block
        raise UsageError(f"no audit {audit_id} is fanned out") from None


def forget_key(audit_id: str) -> None:
    delete: Any = Secret.delete
    with suppress(ValueError, Transient):  # it is worth nothing once the audit has ended
        asked(lambda: delete(_block(audit_id), _sync=True))


def _block(audit_id: str) -> str:
    return f"registry-audit-part-{hashlib.sha256(audit_id.encode()).hexdigest()[:20]}"
