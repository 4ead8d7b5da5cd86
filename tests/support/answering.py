"""A server that answers as it is told: prepared JSON, or any bytes, to every question, and files behind its proxy."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from support.loopback import HttpServer, Quiet, serving

_API, _PROXY = "/api/2.0/mlflow/", "/api/2.0/mlflow-artifacts/artifacts"
MLMODEL = b"flavors: {python_function: {model_path: model.pkl, loader_module: x}}\nrun_id: %s\n"


@dataclass
class Answers:
    """What there is to ask, by question: the path without its prefix, and what of the query tells it from others."""

    json: dict[str, Any] = field(default_factory=dict)  # bytes are sent as they are
    files: dict[str, bytes] = field(default_factory=dict)  # behind the proxy
    status: dict[str, int] = field(default_factory=dict)  # other than 200
    asked: list[str] = field(default_factory=list)
    experiment: str = "1"  # below which the proxy keeps the models

    def digest(self, path: str) -> str:
        return f"sha256:{hashlib.sha256(self.files[path]).hexdigest()}"

    def add(self, name: str, *, source: str | None = None, download_uri: str | None = None) -> str:
        """A healthy version 1 of a model, and its root behind the proxy."""
        run_id, root = hashlib.md5(name.encode()).hexdigest(), f"{self.experiment}/{name}/artifacts/model"
        source = f"mlflow-artifacts:/{root}" if source is None else source
        version = {"name": name, "version": "1", "source": source, "run_id": run_id, "status": "READY"}
        version |= {"current_stage": "None", "creation_timestamp": 1_700_000_000_000}
        self.json.setdefault("registered-models/search", {"registered_models": []})["registered_models"].append(
            {"name": name, "aliases": [{"alias": "champion", "version": "1"}]}
        )
        self.json.setdefault("model-versions/search", {"model_versions": []})["model_versions"].append(version)
        self.json[f"registered-models/get {name}"] = {"registered_model": {"name": name}}
        self.json[f"model-versions/get {name}"] = {"model_version": version}
        uri = source if download_uri is None else download_uri
        self.json[f"model-versions/get-download-uri {name}"] = {"artifact_uri": uri}
        info = {"run_id": run_id, "experiment_id": self.experiment, "lifecycle_stage": "active"}
        info["artifact_uri"] = f"mlflow-artifacts:/{self.experiment}/{name}/artifacts"
        self.json[f"runs/get {run_id}"] = {"run": {"info": info}}
        experiment = {"experiment_id": self.experiment, "lifecycle_stage": "active"}
        self.json[f"experiments/get {self.experiment}"] = {"experiment": experiment}
        self.put(root, {"MLmodel": MLMODEL % run_id.encode(), "model.pkl": name.encode() * 40})
        return root

    def put(self, root: str, files: dict[str, bytes]) -> None:
        self.files |= {f"{root}/{path}": content for path, content in files.items()}
        listed = [{"path": path, "is_dir": False, "file_size": len(content)} for path, content in files.items()]
        self.json[f"list {root}"] = {"files": listed}

    def answer(self, target: str, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        question = self._question(parts.path, query)
        self.asked.append(question)
        if question.startswith("read "):
            content: Any = self.json.get(question, self.files.get(question.removeprefix("read ")))
        else:
            content = self.json.get(question, {} if question.endswith(" of prompts") else None)
        if content is None:
            return 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}'
        said = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.status.get(question, 200), said

    def _question(self, path: str, query: dict[str, str]) -> str:
        if path == _PROXY:
            return f"list {query.get('path', '')}"
        if path.startswith(f"{_PROXY}/"):
            return f"read {unquote(path.removeprefix(_PROXY + '/'))}"
        what = path.removeprefix(_API)
        if "` = 'true'" in query.get("filter", ""):
            return f"{what} of prompts"
        told = query.get("name") or query.get("run_id") or query.get("experiment_id")
        return f"{what} {told}" if told and not what.endswith("/search") else what


@contextlib.contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """The address of a server that gives these answers."""

    class Answering(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = answers.answer(self.path, body)
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_GET  # noqa: N815 - as the base class calls it

    server = HttpServer(("127.0.0.1", 0), Answering)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"
