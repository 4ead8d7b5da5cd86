"""One side of a comparison, as the form of a deployment asks for it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from flows.parameters import Uri


class TrackingServer(BaseModel):
    """The keys of a comparison's configuration file; what they mean is checked as that file is."""

    model_config = ConfigDict(extra="forbid")

    host: Annotated[Uri, Field(repr=False, description="Tracking server, without credentials.")]
    model: Annotated[str, Field(description="Registered model name.")]
    version_or_stage: Annotated[str, Field(description="Version number, stage in any case, @alias or latest.")]
    native_model: Annotated[
        str | None, Field(description="Only this file or directory inside the model, for instance model.pkl.")
    ] = None
    registry_uri: Annotated[
        Uri | None, Field(repr=False, description="Model registry, where it is not the tracking server.")
    ] = None
    registry_name: Annotated[
        str | None, Field(description="What the ledger knows the registry by, whatever its address.")
    ] = None
    username_env: Annotated[
        str | None, Field(description="Name of the worker's environment variable with the user to sign in as.")
    ] = None
    password_env: Annotated[str | None, Field(description="Name of the variable with the user's password.")] = None
    token_env: Annotated[
        str | None, Field(description="Name of the variable with a token, in place of user and password.")
    ] = None
