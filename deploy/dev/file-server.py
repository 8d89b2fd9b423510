#!/usr/bin/env python3
"""An FTP (with explicit TLS) or WebDAV server for tests: file-server.py ftp|webdav PORT ROOT TLS-DIRECTORY [FIRST-LAST].

Everybody is "huiliu" with the password "huiliu". Listens on 127.0.0.1 only; FTP transfers on the ports
from FIRST to LAST.
"""

import sys

kind, port, root, tls = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]

if kind == "ftp":
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import TLS_FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    class Handler(TLS_FTPHandler):
        authorizer = DummyAuthorizer()
        certfile = f"{tls}/server.pem"
        keyfile = f"{tls}/server.key"
        passive_ports = range(int(sys.argv[5].split("-")[0]), int(sys.argv[5].split("-")[1]) + 1)

    Handler.authorizer.add_user("huiliu", "huiliu", root, perm="elradfmwMT")
    ThreadedFTPServer(("127.0.0.1", port), Handler).serve_forever()
else:
    from cheroot import wsgi
    from wsgidav.wsgidav_app import WsgiDAVApp

    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": root},
            "simple_dc": {"user_mapping": {"*": {"huiliu": {"password": "huiliu"}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "logging": {"enable": False},
            "verbose": 0,
        }
    )
    wsgi.Server(("127.0.0.1", port), app).start()
