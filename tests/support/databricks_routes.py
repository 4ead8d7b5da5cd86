"""The routes of the stand-in for Databricks and Unity Catalog."""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Flask, Response, jsonify, request, send_file
from werkzeug.exceptions import NotFound

from support.databricks import EXPERIMENT, Asked, StandIn

_TRACKING = "/api/2.0/mlflow"
_LEGACY = "/api/2.0/mlflow/unity-catalog"
_NATIVE = "/api/2.1/unity-catalog"
_MOST_RESULTS = 100
_NO_LEVELS = (
    "Bad model name: please specify all three levels of the model in the form `catalog_name.schema_name.model_name`"
)


def application(service: StandIn) -> Flask:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _guard(app, service)
    parts = (_workspace, _tracking, _registry, _dbfs, _files, _unity_catalog, _unity_catalog_native)
    for part in parts[-1:] if service.open_source else parts:
        routes = Blueprint(part.__name__, __name__)
        part(routes, service)
        app.register_blueprint(routes)
    return app


def _error(code: str, status: int, message: str) -> tuple[Response, int]:
    return jsonify(error_code=code, message=message), status


def _missing(what: str) -> tuple[Response, int]:
    return _error("RESOURCE_DOES_NOT_EXIST", 404, f"{what} does not exist")


def _asked_for(key: str, default: str = "") -> str:
    return request.args.get(key, default)


def _guard(app: Flask, service: StandIn) -> None:
    @app.before_request
    def keep_and_sign_in() -> Any:
        body = request.get_json(silent=True) if request.method == "POST" else None
        authorization = request.headers.get("Authorization")
        service.asked.append(Asked(request.method, request.path, dict(request.args), authorization, body))
        if any(part in request.path for part in service.faults.hangs):
            service.ended.wait()
        if any(part in request.path for part in service.faults.pages_of_html):
            return Response("<html><title>404</title>gone</html>", 404, content_type="text/html")
        if (refusal := service.take("refusal")) is not None:
            status, retry_after = refusal
            answer = _error("REQUEST_LIMIT_EXCEEDED" if status == 429 else "TEMPORARILY_UNAVAILABLE", status, "later")
            return (*answer, {"Retry-After": retry_after} if retry_after else {})
        if request.path.startswith(("/signed/", "/oidc/")) or request.path == "/.well-known/databricks-config":
            return None
        if service.open_source and not service.faults.token_refused:
            return None
        if service.faults.token_refused_from is not None and service.faults.token_refused_from in request.path:
            service.faults.token_refused = True
        if authorization != f"Bearer {service.token}" or service.faults.token_refused:
            return _error("UNAUTHENTICATED", 401, "Credential was not sent or was of an unsupported type for this API.")
        for name in service.faults.denied:
            inside = (f"/{name}/", f"/{name.replace('.', '/')}/")
            if name in (_asked_for("name"), _name_in(_asked_for("filter"))) or any(
                part in f"{request.path}/" for part in inside
            ):
                return _error("PERMISSION_DENIED", 403, f"User does not have permission to read '{name}'.")
        return None

    @app.errorhandler(404)
    def no_route(_: NotFound) -> Any:
        return _error("ENDPOINT_NOT_FOUND", 404, f"No API found for '{request.method} {request.path}'")


def _page(service: StandIn, items: list[dict[str, Any]], key: str) -> Any:
    wanted = int(_asked_for("max_results") or _MOST_RESULTS)
    if wanted > _MOST_RESULTS:
        return _error("INVALID_PARAMETER_VALUE", 400, f"max_results must be at most {_MOST_RESULTS}")
    token = _asked_for("page_token")
    if service.faults.empty_page_first and not token:
        return jsonify(next_page_token="0")
    size, start = min(wanted, service.faults.page_size), int(token or 0)
    answer: dict[str, Any] = {key: items[start : start + size]} if items[start : start + size] else {}
    if start + size < len(items):
        answer["next_page_token"] = str(start + size)
    return jsonify(answer)


def _on_disk(service: StandIn, path: str) -> Path:
    found = (service.files / path.lstrip("/")).resolve()
    assert found.is_relative_to(service.files.resolve()), f"{path} leaves the stand-in"
    return found


def _path_in(uri: str) -> str:
    return uri.removeprefix("dbfs:")


def _size(service: StandIn, file: Path) -> dict[str, int]:
    if service.faults.without_sizes:
        return {}
    return {"file_size": service.faults.sizes.get(file.name, file.stat().st_size)}


def _infos(service: StandIn, root: str, path: str) -> list[dict[str, Any]]:
    """In the form of MLflow's FileInfo, relative to the root; nothing for what is not there."""
    place = _on_disk(service, posixpath.join(root, path))
    if place.is_file():
        return [{"path": path, "is_dir": False, **_size(service, place)}]
    if not place.is_dir() or f"{root}/{path}".endswith(service.faults.seen_as_empty or ("\0",)):
        return []
    return [
        {
            "path": posixpath.join(path, child.name),
            "is_dir": child.is_dir(),
            **({} if child.is_dir() else _size(service, child)),
        }
        for child in sorted(place.iterdir())
    ]


def _bytes_of(service: StandIn, file: Path) -> Any:
    if file.name in service.faults.bodies:
        return Response(service.faults.bodies[file.name], 200, content_type="application/octet-stream")
    return send_file(file, mimetype="application/octet-stream", download_name="x", conditional=True)


def _signed_url(service: StandIn, path: str) -> str:
    return f"{service.url}/signed{quote(path)}?X-Amz-Signature=secret-of-the-url&o={service.workspace_id}"


def _workspace(app: Blueprint, service: StandIn) -> None:
    @app.get("/.well-known/databricks-config")
    def config() -> Any:
        return jsonify(workspace_id=service.workspace_id, oidc_endpoint=f"{service.url}/oidc")

    @app.get("/oidc/.well-known/oauth-authorization-server")
    def oauth_endpoints() -> Any:
        places = {name: f"{service.url}/oidc/v1/{name}" for name in ("authorize", "token")}
        return jsonify(authorization_endpoint=places["authorize"], token_endpoint=places["token"])

    @app.post("/oidc/v1/token")
    def oauth_token() -> Any:
        """For a service principal, whose secret is the stand-in's token here."""
        if request.authorization is None or request.authorization.password != service.token:
            return jsonify(error="invalid_client", error_description="Client authentication failed"), 401
        return jsonify(access_token=service.token, token_type="Bearer", expires_in=3600)

    @app.get("/api/2.0/preview/scim/v2/Me")
    def me() -> Any:
        answer = jsonify(userName="somebody@example.com")
        answer.headers["X-Databricks-Org-Id"] = service.workspace_id
        return answer

    @app.get(f"{_NATIVE}/metastore_summary")
    def metastore() -> Any:
        if service.faults.without_metastore:
            return _error("PERMISSION_DENIED", 403, "no metastore")
        known = {"metastore_id": service.metastore_id, "name": "main", "cloud": "aws", "region": "us-west-2"}
        return jsonify(**known, global_metastore_id=f"aws:us-west-2:{service.metastore_id}")

    @app.get(f"{_NATIVE}/current-metastore-assignment")
    def assignment() -> Any:
        return jsonify(metastore_id=service.metastore_id, workspace_id=service.workspace_id)

    @app.get("/signed/<path:path>")
    def signed(path: str) -> Any:
        if service.take("expired"):
            return Response("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", 403)
        file = _on_disk(service, path)
        if not file.is_file():
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404)
        return _bytes_of(service, file)


def _tracking(app: Blueprint, service: StandIn) -> None:
    @app.get(f"{_TRACKING}/runs/get")
    def run() -> Any:
        found = service.runs.get(_asked_for("run_id"))
        if found is None:
            return _missing(f"Run '{_asked_for('run_id')}'")
        answer = jsonify(run={"info": found, "data": {}})
        answer.headers["x-databricks-org-id"] = service.workspace_id
        return answer

    @app.get(f"{_TRACKING}/experiments/get")
    def experiment() -> Any:
        wanted = _asked_for("experiment_id")
        if wanted != EXPERIMENT:
            return _missing(f"Node ID {wanted}")
        location = f"dbfs:/databricks/mlflow-tracking/{wanted}"
        return jsonify(experiment={"experiment_id": wanted, "lifecycle_stage": "active", "artifact_location": location})

    @app.post(f"{_TRACKING}/logged-models/search")
    def search_logged_models() -> Any:
        wanted = re.search(r"source_run_id='(\w+)'", (request.get_json() or {}).get("filter", ""))
        found = [m for m in service.logged_models.values() if wanted is None or m["source_run_id"] == wanted[1]]
        return jsonify(models=[{"info": model, "data": {}} for model in found])

    @app.get(f"{_TRACKING}/logged-models/<model_id>")
    def logged_model(model_id: str) -> Any:
        found = service.logged_models.get(model_id)
        return jsonify(model={"info": found, "data": {}}) if found else _missing(f"Logged model '{model_id}'")

    @app.get(f"{_TRACKING}/artifacts/list")
    def artifacts() -> Any:
        found = service.runs.get(_asked_for("run_id"))
        if found is None:
            return _missing("Run")
        return _page(service, _infos(service, _path_in(found["artifact_uri"]), _asked_for("path")), "files")

    @app.get(f"{_TRACKING}/logged-models/<model_id>/artifacts/directories")
    def logged_model_artifacts(model_id: str) -> Any:
        found = service.logged_models.get(model_id)
        if found is None:
            return _missing(f"Logged model '{model_id}'")
        root = _path_in(found["artifact_uri"])
        return _page(service, _infos(service, root, _asked_for("artifact_directory_path")), "files")

    @app.post(f"{_TRACKING}/artifacts/credentials-for-read")
    def credentials_for_read() -> Any:
        body = request.get_json()
        root = _path_in(service.runs[body["run_id"]]["artifact_uri"])
        return jsonify(
            credential_infos=[
                {
                    "run_id": body["run_id"],
                    "path": path,
                    "signed_uri": _signed_url(service, posixpath.join(root, path)),
                    "type": "AWS_PRESIGNED_URL",
                }
                for path in body["path"]
            ]
        )

    @app.post(f"{_TRACKING}/logged-models/<model_id>/artifacts/credentials-for-download")
    def credentials_for_download(model_id: str) -> Any:
        root = _path_in(service.logged_models[model_id]["artifact_uri"])
        infos = [
            {"path": path, "signed_uri": _signed_url(service, posixpath.join(root, path)), "type": "AWS_PRESIGNED_URL"}
            for path in request.get_json()["paths"]
        ]
        return jsonify(credentials=[{"credential_info": info} for info in infos])


def _registry(app: Blueprint, service: StandIn) -> None:
    def shown(version: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in version.items() if key != "registry_uri"}

    def wanted() -> dict[str, Any] | None:
        versions = service.models.get(_asked_for("name"), [])
        return next((version for version in versions if version["version"] == _asked_for("version")), None)

    def gone() -> Any:
        return _missing(f"Model Version (name={_asked_for('name')}, version={_asked_for('version')})")

    @app.get(f"{_TRACKING}/registered-models/search")
    def search_models() -> Any:
        names = [name for name in sorted(service.models) if not _is_unlisted(service, name)]
        return _page(
            service,
            [{"name": name, "creation_timestamp": 1, "last_updated_timestamp": 2} for name in names],
            "registered_models",
        )

    @app.get(f"{_TRACKING}/registered-models/get")
    def model() -> Any:
        name = _asked_for("name")
        if name not in service.models:
            return _missing(f"Registered Model with name={name}")
        return jsonify(registered_model={"name": name, "creation_timestamp": 1, "last_updated_timestamp": 2})

    @app.get(f"{_TRACKING}/model-versions/search")
    def search_versions() -> Any:
        if request.args.get("order_by"):
            return _error("INVALID_PARAMETER_VALUE", 400, "order_by is not supported")
        filter_string = _asked_for("filter")
        name = _name_in(filter_string)
        if filter_string and name is None:
            return _error("INVALID_PARAMETER_VALUE", 400, f"Unsupported filter query : `{filter_string}`")
        if service.faults.needs_filter and not filter_string:
            return _error("INVALID_PARAMETER_VALUE", 400, "Missing filter: please specify a filter parameter")
        listed = [
            shown(version)
            for key in sorted(service.models)
            if name in (None, key) and not _is_unlisted(service, key)
            for version in service.models[key]
        ]
        return _page(service, listed, "model_versions")

    @app.get(f"{_TRACKING}/model-versions/get")
    def version() -> Any:
        found = wanted()
        return jsonify(model_version=shown(found)) if found else gone()

    @app.get(f"{_TRACKING}/model-versions/get-download-uri")
    def download_uri() -> Any:
        found = wanted()
        return jsonify(artifact_uri=found["registry_uri"]) if found else gone()

    @app.get(f"{_TRACKING}/model-versions/list-artifacts")
    def list_artifacts() -> Any:
        found = wanted()
        return (
            _page(service, _infos(service, _path_in(found["registry_uri"]), _asked_for("path")), "files")
            if found
            else gone()
        )

    @app.get(f"{_TRACKING}/model-versions/get-signed-download-uri")
    def signed_uri() -> Any:
        found = wanted()
        if not found:
            return gone()
        path = posixpath.join(_path_in(found["registry_uri"]), _asked_for("path"))
        return jsonify(signed_uri=_signed_url(service, path), headers=[])


def _dbfs(app: Blueprint, service: StandIn) -> None:
    @app.get("/api/2.0/dbfs/list")
    def dbfs_list() -> Any:
        path = _asked_for("path").rstrip("/")
        if path.startswith(("/databricks/mlflow-registry", "/databricks/mlflow-tracking")):
            return _error("PERMISSION_DENIED", 403, "No operations allowed on this path")
        place = _on_disk(service, path)
        if not place.exists():
            return _missing(f"No file or directory exists on path {path}.")
        children = [place] if place.is_file() else sorted(place.iterdir())
        files = [
            {
                "path": path if place.is_file() else f"{path}/{child.name}",
                "is_dir": child.is_dir(),
                **({"file_size": 0} if child.is_dir() else _size(service, child)),
                "modification_time": int(child.stat().st_mtime * 1000),
            }
            for child in children
        ]
        return jsonify({"files": files} if files else {})

    @app.get("/dbfs/<path:path>")
    def dbfs_file(path: str) -> Any:
        file = _on_disk(service, path)
        return _bytes_of(service, file) if file.is_file() else _missing(path)


def _files(app: Blueprint, service: StandIn) -> None:
    def on_disk(path: str) -> Path | None:
        match path.strip("/").split("/"):
            case ["Models", *levels]:
                if not service.faults.models_on_files:
                    return None
                return _on_disk(service, "/".join(("uc", *levels)))
            case ["WorkspaceInternal", "Mlflow", "Artifacts", experiment, kind, which, *rest]:
                if not service.faults.internal_files:
                    return None
                base = f"databricks/mlflow-tracking/{experiment}"
                inside = f"logged_models/{which}" if kind == "LoggedModels" else which
                return _on_disk(service, "/".join((base, inside, *rest)))
            case ["Volumes", *_]:
                return _on_disk(service, path)
        return None

    def refused() -> Any:
        status = service.faults.files_api
        if status == 200:
            return None
        return _error("PERMISSION_DENIED" if status == 403 else "ENDPOINT_NOT_FOUND", status, "no Files API for you")

    @app.get("/api/2.0/fs/directories/<path:path>")
    def directory(path: str) -> Any:
        if (answer := refused()) is not None:
            return answer
        place = on_disk(path)
        if place is None or not place.is_dir():
            return _error("NOT_FOUND", 404, f"The directory being accessed is not found: /{path}")
        children = [] if path.endswith(service.faults.seen_as_empty or ("\0",)) else sorted(place.iterdir())
        contents = [
            {
                "path": f"/{path.strip('/')}/{child.name}",
                "is_directory": child.is_dir(),
                "name": child.name,
                "last_modified": int(child.stat().st_mtime * 1000),
                **({} if child.is_dir() else _size(service, child)),
            }
            for child in children
        ]
        return _page(service, contents, "contents")

    @app.get("/api/2.0/fs/files/<path:path>")
    def file(path: str) -> Any:
        if (answer := refused()) is not None:
            return answer
        if not service.faults.direct_files:
            return _error("INVALID_PARAMETER_VALUE", 400, "the file is too large: use a signed URL")
        place = on_disk(path)
        if place is None or not place.is_file():
            return _error("NOT_FOUND", 404, f"The file being accessed is not found: /{path}")
        return _bytes_of(service, place)

    @app.post("/api/2.0/fs/create-download-url")
    def download_url() -> Any:
        if (answer := refused()) is not None:
            return answer
        path = (request.get_json(silent=True) or {}).get("path") or _asked_for("path")
        place = on_disk(path)
        if place is None or not place.is_file():
            return _error("NOT_FOUND", 404, path)
        relative = place.relative_to(service.files.resolve()).as_posix()
        return jsonify(url=_signed_url(service, f"/{relative}"), headers=[])


def _unity_catalog(app: Blueprint, service: StandIn) -> None:
    def asked_for_name() -> str:
        return _asked_for("name").lower()  # any spelling finds a model, and one is answered

    def shown(version: dict[str, Any], *, whole: bool = True) -> dict[str, Any]:
        found = {key: value for key, value in version.items() if key not in ("run_workspace_id", "tags")}
        found["run_tracking_server_id"] = version["run_workspace_id"]
        if whole:  # a listing leaves out tags and aliases
            found["tags"] = version["tags"]
            aliases = service.aliases.get(version["name"], {})
            found["aliases"] = [{"alias": a, "version": n} for a, n in aliases.items() if n == version["version"]]
        return found

    def wanted() -> dict[str, Any] | None:
        return _version(service, asked_for_name(), _asked_for("version"))

    def gone() -> Any:
        return _missing(f"Model version {_asked_for('version')} of '{_asked_for('name')}'")

    @app.get(f"{_LEGACY}/registered-models/search")
    def search_models() -> Any:
        names = [name for name in sorted(service.catalog) if not _is_unlisted(service, name)]
        return _page(service, [{"name": name, "creation_timestamp": 1} for name in names], "registered_models")

    @app.get(f"{_LEGACY}/registered-models/get")
    def model() -> Any:
        name = asked_for_name()
        if name.count(".") != 2:
            return _error("INVALID_PARAMETER_VALUE", 400, _NO_LEVELS)
        if name not in service.catalog:
            return _missing(f"Registered model '{name}'")
        told = dict(service.aliases.get(name, {}))
        for alias in told:
            service.alias_told(name, alias)
        aliases = [{"alias": alias, "version": number} for alias, number in told.items()]
        return jsonify(registered_model={"name": name, "aliases": aliases})

    @app.get(f"{_LEGACY}/model-versions/search")
    def search_versions() -> Any:
        name = _name_in(_asked_for("filter").lower())
        if name is None:
            return _error(
                "INVALID_PARAMETER_VALUE",
                400,
                "Missing filter: please specify a filter parameter in the format `name = 'model_name'`.",
            )
        return _page(service, [shown(v, whole=False) for v in service.catalog.get(name, [])], "model_versions")

    @app.get(f"{_LEGACY}/model-versions/get")
    def version() -> Any:
        found = wanted()
        return jsonify(model_version=shown(found)) if found else gone()

    @app.get(f"{_LEGACY}/registered-models/alias")
    def by_alias() -> Any:
        number = service.aliases.get(asked_for_name(), {}).get(_asked_for("alias"))
        found = _version(service, asked_for_name(), number or "")
        shown_now = shown(found) if found else None
        service.alias_told(asked_for_name(), _asked_for("alias"))
        return jsonify(model_version=shown_now) if found else _missing(f"Alias '{_asked_for('alias')}'")

    @app.get(f"{_LEGACY}/model-versions/get-download-uri")
    def download_uri() -> Any:
        found = wanted()
        return jsonify(artifact_uri=found["storage_location"]) if found else gone()

    @app.get(f"{_LEGACY}/registered-models:is-databricks-sdk-models-artifact-repository-enabled")
    def through_files() -> Any:
        return jsonify(is_databricks_sdk_models_artifact_repository_enabled=service.says("models_through_files"))

    @app.post(f"{_LEGACY}/model-versions/generate-temporary-credentials")
    def lend() -> Any:
        body = request.get_json()
        if _version(service, body["name"].lower(), body["version"]) is None:
            return _missing("Model version")
        return jsonify(credentials=_lent(service))

    @app.post(f"{_LEGACY}/model-versions/emit-lineage")
    def lineage() -> Any:
        return jsonify({})


def _lent(service: StandIn) -> dict[str, Any]:
    if service.says("default_storage"):
        return {"storage_mode": "DEFAULT_STORAGE", "expiration_time": 4_102_444_800_000}
    return {"storage_mode": "CUSTOMER_HOSTED", "expiration_time": 4_102_444_800_000, **service.lend()}


def _unity_catalog_native(app: Blueprint, service: StandIn) -> None:
    def gone(what: str) -> Any:
        return _error("NOT_FOUND", 404, f"{what} not found")

    def kept(name: str) -> str:
        return name if service.open_source else name.lower()  # any spelling finds a model in Databricks

    def aliases(name: str, number: str | None = None) -> dict[str, Any]:
        if service.open_source or _asked_for("include_aliases") != "true":
            return {}
        held = service.aliases.get(name, {}).items()
        return {"aliases": [{"alias_name": a, "version_num": int(n)} for a, n in held if number in (None, n)]}

    def shown(version: dict[str, Any]) -> dict[str, Any]:
        catalog, schema, model = version["name"].split(".")
        return {
            "catalog_name": catalog,
            "schema_name": schema,
            "model_name": model,
            "version": int(version["version"]),
            "source": version["source"],
            "run_id": version["run_id"],
            "run_workspace_id": int(version["run_workspace_id"]),
            "status": version["status"],
            "storage_location": version["storage_location"],
            "created_at": version["creation_timestamp"],
            "updated_at": version["last_updated_timestamp"],
            "created_by": version["user_id"],
            "id": f"{version['name']}-{version['version']}",
        }

    def model_shown(name: str) -> dict[str, Any]:
        catalog, schema, model = name.split(".")
        return {"name": model, "catalog_name": catalog, "schema_name": schema, "full_name": name, "created_at": 1}

    def listed() -> list[str]:
        return [name for name in sorted(service.catalog) if not _is_unlisted(service, name)]

    @app.get(f"{_NATIVE}/catalogs")
    def catalogs() -> Any:
        names = sorted({name.split(".")[0] for name in listed()})
        return _page(service, [{"name": name} for name in names], "catalogs")

    @app.get(f"{_NATIVE}/schemas")
    def schemas() -> Any:
        catalog = _asked_for("catalog_name")
        names = sorted({name.split(".")[1] for name in listed() if name.startswith(f"{catalog}.")})
        return _page(service, [{"name": name, "catalog_name": catalog} for name in names], "schemas")

    @app.get(f"{_NATIVE}/models")
    def models() -> Any:
        catalog, schema, token = (_asked_for(key) for key in ("catalog_name", "schema_name", "page_token"))
        if bool(catalog) != bool(schema):
            return _error(
                "INVALID_ARGUMENT", 400, "Cannot specify one of catalog and schema for list registered models."
            )
        if service.open_source and token and not catalog:  # https://github.com/unitycatalog/unitycatalog/issues/1718
            return _error("INVALID_ARGUMENT", 400, f"Invalid UUID string: {token}")
        names = [name for name in listed() if not catalog or name.startswith(f"{catalog}.{schema}.")]
        return _page(service, [model_shown(name) for name in names], "registered_models")

    @app.get(f"{_NATIVE}/models/<name>")
    def model(name: str) -> Any:
        name = kept(name)
        return jsonify(model_shown(name) | aliases(name)) if name in service.catalog else gone(f"Model {name}")

    @app.get(f"{_NATIVE}/models/<name>/versions")
    def versions(name: str) -> Any:
        name = kept(name)
        if name not in service.catalog:
            return gone(f"Model {name}")
        return _page(service, [shown(version) for version in service.catalog[name]], "model_versions")

    @app.get(f"{_NATIVE}/models/<name>/versions/<number>")
    def version(name: str, number: str) -> Any:
        name = kept(name)
        found = _version(service, name, number)
        return jsonify(shown(found) | aliases(name, number)) if found else gone(f"Model version {name}/{number}")

    @app.get(f"{_NATIVE}/models/<name>/aliases/<alias>")
    def by_alias(name: str, alias: str) -> Any:
        name = kept(name)
        found = _version(service, name, service.aliases.get(name, {}).get(alias, ""))
        return jsonify(shown(found)) if found else gone(f"Alias {alias}")

    @app.post(f"{_NATIVE}/temporary-model-version-credentials")
    def lend() -> Any:
        body = request.get_json()
        name = kept(f"{body['catalog_name']}.{body['schema_name']}.{body['model_name']}")
        found = _version(service, name, str(body["version"]))
        if found is None:
            return gone("Model version")
        if found["storage_location"].startswith("file:"):
            return _error("INVALID_ARGUMENT", 400, "Cannot vend credentials for local storage")
        return jsonify(_lent(service))


def _is_unlisted(service: StandIn, name: str) -> bool:
    return service.faults.unlisted and name in service.faults.denied


def _version(service: StandIn, name: str, number: str) -> dict[str, Any] | None:
    return next((version for version in service.catalog.get(name, []) if version["version"] == str(number)), None)


def _name_in(filter_string: str) -> str | None:
    found = re.fullmatch(r"\s*name\s*=\s*(['\"])(.*)\1\s*", filter_string)
    return found[2] if found else None
