#!/usr/bin/env python3
"""An S3 server for the figures: moto, over connections that stay open.

    s3.py PORT

moto's own server closes each connection after one answer, since werkzeug doesn't
read what an application leaves of a request. No real S3 does: its clients hold
connections, so to measure them against one that doesn't is to measure `connect`.
Here a request is read whole before moto sees it, so the next one can follow.
"""

import io
import sys

from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.wrappers import Response


class Handler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer in one packet.
    wbufsize = -1
    disable_nagle_algorithm = True

    def run_wsgi(self):
        # All that is measured says how long its bodies are.
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(body)
        answer = Response.from_app(self.server.app, environ, buffered=True)
        has_body = self.command != "HEAD" and answer.status_code not in (204, 304)
        if has_body:
            answer.headers["Content-Length"] = str(len(answer.data))
        self.send_response(answer.status_code)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if has_body:
            self.wfile.write(answer.data)
        self.wfile.flush()

    def log_request(self, *_):
        pass


def main():
    app = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=Handler)


if __name__ == "__main__":
    main()
