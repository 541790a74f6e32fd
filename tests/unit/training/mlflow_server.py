"""As much of an MLflow server as a run needs, over HTTP, that can also refuse, hang, or lose its answers."""

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"


class MlflowServer:
    """Keeps what it is sent. Points are kept as often as they come, where a real one keeps equal ones once.

    Attributes:
        mood: ``answer``, ``refuse`` (error 503), ``hang`` (says nothing) or ``lose`` (does it, then says nothing).
        asked: Paths of the requests, in order.
        runs: Their ids -> what is known of them.
        files: Of all runs, by name.
    """

    def __init__(self):
        self.mood = "answer"
        self.asked, self.experiments, self.runs, self.files = [], {}, {}, {}
        self._release = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                server.handle(self)

            do_GET = do_POST = do_PUT = handle_any

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self):
        self._release.set()
        self._http.shutdown()
        self._http.server_close()

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        where = urlsplit(request.path)
        self.asked.append(where.path)
        mood = self.mood
        if mood == "refuse":
            return self._answer(request, 503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "Back soon."})
        if mood == "hang":
            self._release.wait()
            return None
        if where.path.startswith(ARTIFACTS):
            self.files[where.path.rsplit("/", 1)[1]] = body
            code, answer = 200, {}
        else:
            asked = json.loads(body) if body else {key: value[0] for key, value in parse_qs(where.query).items()}
            code, answer = self._do(where.path.removeprefix(f"{API}/"), asked)
        if mood == "lose":
            self._release.wait()
            return None
        return self._answer(request, code, answer)

    def _answer(self, request, code, document):
        content = json.dumps(document).encode()
        request.send_response(code)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _do(self, what, asked):
        if what == "experiments/get-by-name":
            number = self.experiments.get(asked["experiment_name"])
            if number is None:
                return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No such experiment."}
            return 200, {"experiment": {"experiment_id": number, "name": asked["experiment_name"]}}
        if what == "experiments/create":
            self.experiments[asked["name"]] = number = str(len(self.experiments) + 1)
            return 200, {"experiment_id": number}
        if what == "runs/create":
            name = uuid.uuid4().hex
            run = {
                "info": {
                    "run_id": name,
                    "run_uuid": name,
                    "experiment_id": asked["experiment_id"],
                    "run_name": asked["run_name"],
                    "status": "RUNNING",
                    "start_time": asked["start_time"],
                    "artifact_uri": f"mlflow-artifacts:/{self._http.server_port}",
                    "lifecycle_stage": "active",
                },
                "tags": {tag["key"]: tag["value"] for tag in asked["tags"]},
                "params": {},
                "metrics": [],
            }
            self.runs[name] = run
            return 200, {"run": _shown(run)}
        if what == "runs/search":
            wanted = asked["filter"].rsplit("'", 2)[1]
            found = [run for run in self.runs.values() if run["tags"].get("fer_core.job") == wanted]
            return 200, {"runs": [_shown(run) for run in found]}
        run = self.runs[asked.get("run_id") or asked["run_uuid"]]
        if what == "runs/update":
            run["info"] |= {key: asked[key] for key in ("status", "end_time", "run_name") if key in asked}
            return 200, {"run_info": run["info"]}
        if what == "runs/log-batch":
            run["metrics"] += asked.get("metrics", [])
            run["params"] |= {param["key"]: param["value"] for param in asked.get("params", [])}
            run["tags"] |= {tag["key"]: tag["value"] for tag in asked.get("tags", [])}
            return 200, {}
        if what == "runs/get":
            return 200, {"run": _shown(run)}
        if what == "metrics/get-history":
            return 200, {"metrics": [point for point in run["metrics"] if point["key"] == asked["metric_key"]]}
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": what}

    def wait_for(self, known):
        """Waits until ``known()`` is true, for two minutes at most; returns it."""
        deadline = time.monotonic() + 120
        while not (found := known()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found


def _shown(run):
    pairs = ("tags", "params")
    data = {name: [{"key": key, "value": value} for key, value in run[name].items()] for name in pairs}
    latest = {point["key"]: point for point in run["metrics"]}
    return {"info": run["info"], "data": {**data, "metrics": list(latest.values())}}
