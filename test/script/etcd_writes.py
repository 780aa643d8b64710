# SPDX-License-Identifier: Apache-2.0
# Creates ConfigMaps one after the other until the file STOP is there, and notes each name that was acknowledged.
# Usage: etcd_writes.py KUBECONFIG ACKNOWLEDGED STOP
import base64, json, os, ssl, sys, tempfile, time, urllib.request, re

config, noted, stop = sys.argv[1:4]
text = open(config).read()
field = lambda name: re.search(name + r": (\S+)", text).group(1)
context = ssl.create_default_context(cadata=base64.b64decode(field("certificate-authority-data")).decode())
with tempfile.NamedTemporaryFile() as pem:
    pem.write(base64.b64decode(field("client-certificate-data")) + base64.b64decode(field("client-key-data")))
    pem.flush()
    context.load_cert_chain(pem.name)
url = field("server") + "/api/v1/namespaces/default/configmaps"
n = 0
with open(noted, "a", buffering=1) as out:
    while not os.path.exists(stop):
        n += 1
        body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"w{n}"}}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, context=context, timeout=10).read()
            out.write(f"w{n}\n")
        except Exception as e:  # not acknowledged: it may be there or not
            print(n, e, file=sys.stderr)
            time.sleep(0.2)
