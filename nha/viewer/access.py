"""Who may connect to the viewer's server, and what a browser may send to it.

Any web page that is open in the user's browser can send requests to this machine. A request is therefore answered only
if it is addressed to an allowed name (DNS rebinding sends the attacker's name in `Host`), comes from a page of this
server (`Origin`), and its path begins with the random token of the printed address.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http
import ipaddress
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from nha.core.errors import UserError
from nha.viewer.client_messages import checked_message

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
LARGEST_MESSAGE_BYTES = 1 << 16  # of a browser: a camera, or the value of a control
MOST_CONNECTIONS = 32


@dataclasses.dataclass
class AccessRules:
    """Decides about requests.

    Attributes:
        names: host names that are allowed besides those of the loopback interface.
        token: first part of every path.
        n_connections: open connections.
    """

    names: frozenset[str] = frozenset()
    token: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(16))
    n_connections: int = 0

    def refusal(self, headers: Any, path: str, local_address: str) -> str | None:
        """Why a request is not answered, None if it is.

        Args:
            headers: its header fields; `get_all(name)` returns the values of one.
            path: its path.
            local_address: the IP address of this machine that the connection was made to. It is an allowed name,
                because a web page cannot be loaded under it from elsewhere.
        """
        hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
        if len(hosts) != 1 or not self._is_allowed(_host_name(f"//{hosts[0]}"), local_address):
            return "this name of the machine is not allowed; start the viewer with --allow NAME"
        if len(origins) > 1 or (origins and not self._is_own_origin(origins[0], hosts[0])):
            return "requests of other web pages are not allowed"
        first = (path.split("?")[0].split("/") + [""])[1]
        if not secrets.compare_digest(first.encode(errors="surrogateescape"), self.token.encode()):
            return "open the address that the viewer has printed; it ends with a token"
        return None

    def _is_allowed(self, name: str | None, local_address: str) -> bool:
        return name is not None and (name in LOOPBACK_NAMES or name in self.names or name == local_address)

    @staticmethod
    def _is_own_origin(origin: str, host: str) -> bool:
        scheme, _, rest = origin.partition("://")
        return scheme in ("http", "https") and rest.lower() == host.lower()


def _host_name(url: str) -> str | None:
    """The lower-case name in an address, without its port; None for one that cannot be read."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for one that is no number
        return None if parts.username is not None or parts.path else parts.hostname
    except ValueError:
        return None


def access_rules(host: str, allowed: Sequence[str]) -> AccessRules:
    """The rules of a server.

    Args:
        host: the address to listen on; a name of its own is allowed.
        allowed: further names of the machine, as browsers address it.

    Raises:
        UserError: an allowed name is none.
    """
    for name in allowed:
        if not re.fullmatch(r"[\w.-]+", name):
            raise UserError(f"--allow takes names of this machine, such as pc.example.org, not '{name}'")
    own = set() if host in ("", "0.0.0.0", "::") else {host.lower()}
    return AccessRules(frozenset({name.lower() for name in allowed} | own))


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@contextlib.contextmanager
def guarded_serving(rules: AccessRules) -> Iterator[None]:
    """Apply rules to every server that the package websockets starts while the block runs.

    viser has no setting for it: it passes its request handler to `websockets.asyncio.server.serve`, which is replaced
    meanwhile.

    Raises:
        UserError: no server was started that way, so the installed version of viser cannot be guarded.
    """
    import websockets.asyncio.server as websockets_server

    serve, used = websockets_server.serve, []

    def guarded_serve(handler: Callable[[Any], Any], *address: Any, **options: Any) -> Any:
        used.append(True)
        options["process_request"] = _guarded_requests(rules, options.get("process_request"))
        options["max_size"] = LARGEST_MESSAGE_BYTES
        options["logger"] = _quiet_logger()
        return serve(_guarded_connections(rules, handler), *address, **options)

    websockets_server.serve = guarded_serve
    try:
        yield
    finally:
        websockets_server.serve = serve
    if not used:
        raise UserError(
            "this version of viser cannot be protected; install the one that requirements.lock names"
        )


def _guarded_requests(rules: AccessRules, answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A request handler that refuses what the rules refuse, and removes the token from the path of the others."""

    def process_request(connection: Any, request: Any) -> Any:
        local_address = str(connection.local_address[0])
        reason = rules.refusal(request.headers, request.path, local_address)
        if reason is None and rules.n_connections >= MOST_CONNECTIONS:
            reason = "too many browsers are connected"
        if reason is not None:
            return connection.respond(http.HTTPStatus.FORBIDDEN, f"{reason}\n")
        path = request.path[1 + len(rules.token) :] or "/"
        response = answer(connection, dataclasses.replace(request, path=path))
        if response is not None:
            response.headers["X-Frame-Options"] = "DENY"
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["Cache-Control"] = "no-store"
        return response

    return process_request


def _guarded_connections(rules: AccessRules, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A connection handler whose connections receive only checked messages; what is not one is left out."""

    async def handle(connection: Any) -> None:
        asyncio.get_running_loop().set_exception_handler(_leave_out)
        receive = connection.recv

        async def receive_checked(*arguments: Any, **options: Any) -> bytes:
            while True:
                message = checked_message(await receive(*arguments, **options))
                if message is not None:
                    return message

        connection.recv = receive_checked
        rules.n_connections += 1
        try:
            await handler(connection)
        finally:
            rules.n_connections -= 1

    return handle


def _leave_out(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Drop the traceback of a value that viser cannot convert to its control's kind; report every other error."""
    if not isinstance(context.get("exception"), (ValueError, TypeError)):
        loop.default_exception_handler(context)


def _quiet_logger() -> logging.Logger:
    """A logger that drops the tracebacks of connections that browsers break off."""
    logger = logging.getLogger("nha.viewer.connections")
    logger.setLevel(logging.CRITICAL)
    return logger
