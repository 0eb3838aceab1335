"""A small HTTP client for Adal: one kept connection, JSON, and patience with 429 and 503.

Not safe for several threads at once: each worker has a client of its own.
"""

import argparse
import http.client
import json
import os
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

RETRIED = (429, 503)
MAX_ATTEMPTS = 120
MAX_WAIT_S = 30.0
MAX_WAIT_IN_ALL_S = 600.0
TIMEOUT_S = 60.0


class ApiError(Exception):
    """An answer that is no success, or none at all; `code` is the problem's."""

    def __init__(self, what: str, status: int, code: str, detail: str) -> None:
        super().__init__(f"{what}: {status} {code}: {detail}".rstrip(": "))
        self.status = status
        self.code = code


def retry_after(header: str | None, attempt: int) -> float:
    """Seconds to wait: what the server asks (seconds or a date), else a growing pause; never above the bound."""
    wait = min(0.2 * 2**attempt, 5.0)
    if header:
        try:
            wait = float(header)
        except ValueError:
            wait = parsedate_to_datetime(header).timestamp() - time.time()
    return min(max(wait, 0.05), MAX_WAIT_S)


class Client:
    """Requests with a service key. Everything the replay sends is idempotent, so a broken connection is retried too."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.netloc, timeout=TIMEOUT_S)
        self._base = parts.path.rstrip("/")
        self._key = key
        self.waits = 0

    def get(self, path: str) -> Any:
        """The body of a 200."""
        return self._send("GET", path, None, {})

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Any:
        """The body of a 2xx."""
        return self._send("POST", path, body, {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        """Sends until there is an answer other than `not now`, within the bounds above."""
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"} | headers
        what, waited = f"{method} {path}", 0.0
        for attempt in range(MAX_ATTEMPTS):
            try:
                self._connection.request(method, self._base + path, body, headers)
                answer = self._connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                status, wait, problem = 0, retry_after(None, attempt), {"detail": repr(error)}
                if attempt >= 5:
                    break
            else:
                status = answer.status
                if 200 <= status < 300:
                    return json.loads(data)
                problem = self._problem(data)
                if status not in RETRIED:
                    break
                wait = retry_after(answer.getheader("Retry-After"), attempt)
            if waited + wait > MAX_WAIT_IN_ALL_S:
                break
            self.waits += 1
            waited += wait
            time.sleep(wait)
        raise ApiError(what, status, str(problem.get("code", "no_answer")), str(problem.get("detail", "")))

    @staticmethod
    def _problem(data: bytes) -> dict[str, Any]:
        """A problem's fields, or the start of whatever else was answered."""
        try:
            problem = json.loads(data)
        except ValueError:
            problem = None
        if isinstance(problem, dict):
            return problem
        return {"code": "no_problem_details", "detail": data[:200].decode(errors="replace")}


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Where the server is and with which key."""
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the server's base URL")
    parser.add_argument("--key", default=os.environ.get("ADAL_KEY"), help="a service key (default: ADAL_KEY)")
    admin_key = os.environ.get("ADAL_ADMIN_KEY")
    parser.add_argument("--admin-key", default=admin_key, help="an admin key (default: ADAL_ADMIN_KEY)")
    parser.add_argument("--connections", type=int, default=4, help="parallel connections (default 4)")


def check_key(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Stops where there is no key."""
    if not args.key:
        parser.error("a service key is needed: --key or ADAL_KEY")
    if args.connections < 1:
        parser.error("--connections must be at least 1")
