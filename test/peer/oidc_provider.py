#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An OpenID Connect provider for 76-oidc, and a webhook that decides: HTTPS on a loopback port, keys by the openssl program.

/realm/.well-known/openid-configuration and /keys are the provider's; /token?sub=..&alg=..&<claim>=.. gives a token (no questions
asked), /turn makes new keys; POST /authorize allows oidc:carol what she asks of ConfigMaps."""

import base64
import http.server
import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.parse

folder, port, cert, key = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
issuer = f"https://127.0.0.1:{port}/realm"
generation = 0


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b"=").decode()


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def make_keys():
    global generation
    generation += 1
    openssl("genrsa", "-out", f"{folder}/rsa.pem", "2048")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{folder}/ec.pem")


def key_set():
    modulus = openssl("rsa", "-in", f"{folder}/rsa.pem", "-noout", "-modulus").decode().strip().split("=")[1]
    point = openssl("ec", "-in", f"{folder}/ec.pem", "-pubout", "-outform", "DER")[-64:]
    return {"keys": [
        {"kty": "RSA", "use": "sig", "kid": f"rsa{generation}", "n": b64(bytes.fromhex(modulus)), "e": "AQAB"},
        {"kty": "EC", "use": "sig", "kid": f"ec{generation}", "crv": "P-256", "x": b64(point[:32]), "y": b64(point[32:])},
        {"kty": "oct", "kid": "secret", "k": "AAAA"}]}


def raw(der):
    """r and s of an ECDSA signature side by side."""
    first = 4 + der[3]
    second = der[first + 2:first + 2 + der[first + 1]]
    return b"".join(part.lstrip(b"\0").rjust(32, b"\0") for part in (der[4:first], second))


def token(claims, alg):
    kid = f"{'ec' if alg.startswith('ES') else 'rsa'}{generation}"
    text = f"{b64(json.dumps({'alg': alg, 'kid': kid}))}.{b64(json.dumps(claims))}"
    args = ["dgst", "-sha" + alg[2:], "-sign", f"{folder}/{'ec' if alg.startswith('ES') else 'rsa'}.pem"]
    if alg.startswith("PS"):
        args += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
    sig = openssl(*args, data=text.encode())
    return f"{text}.{b64(raw(sig) if alg.startswith('ES') else sig)}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, code=200, kind="application/json"):
        body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        q = dict(urllib.parse.parse_qsl(query))
        if path == "/realm/.well-known/openid-configuration":
            self.answer({"issuer": issuer, "jwks_uri": f"https://127.0.0.1:{port}/keys", "response_types_supported": ["id_token"]})
        elif path == "/keys":
            self.answer(key_set())
        elif path == "/token":
            claims = {"iss": issuer, "aud": ["cube"], "iat": int(time.time()), "exp": int(time.time()) + 300}
            alg = q.pop("alg", "RS256")
            claims.update({k: json.loads(v) if re.match(r"[\[{]|true|false|\d+$", v) else v for k, v in q.items()})
            self.answer(token(claims, alg), kind="text/plain")
        elif path == "/turn":
            make_keys()
            self.answer({})
        else:
            self.answer({}, 404)

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        spec = review.get("spec", {})
        allowed = spec.get("user") == "oidc:carol" and spec.get("resourceAttributes", {}).get("resource") == "configmaps"
        self.answer({"kind": review["kind"], "apiVersion": review["apiVersion"], "status": {"allowed": allowed, "reason": "the webhook says so"}})

    def log_message(self, *args):
        print(self.path, file=sys.stderr)


os.makedirs(folder, exist_ok=True)
make_keys()
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
