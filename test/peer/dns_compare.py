#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks two DNS servers the same questions and tells where their answers differ: dns_compare.py OURS-PORT THEIRS-PORT [ADDRESS].

The names are those of the objects in dns_objects.yaml. Serial numbers, the RA bit and the EDNS record are not compared, nor
the order of records. A difference that is meant is in `meant`, with its reason; one that is meant and does not show is told, too.
"""
import re
import socket
import ssl
import struct
import sys
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65, "ANY": 255}
NAMES = """
cluster.local svc.cluster.local pod.cluster.local one.svc.cluster.local none.svc.cluster.local one.pod.cluster.local
dns-version.cluster.local ns.dns.cluster.local dns.cluster.local nope.cluster.local
web.one.svc.cluster.local WEB.one.SVC.cluster.local _http._tcp.web.one.svc.cluster.local _HTTP._tcp.web.one.svc.cluster.local
_http._udp.web.one.svc.cluster.local http.tcp.web.one.svc.cluster.local _dns._udp.web.one.svc.cluster.local
_nope._tcp.web.one.svc.cluster.local x.web.one.svc.cluster.local 10-244-1-5.web.one.svc.cluster.local
a.b.c.web.one.svc.cluster.local nope.one.svc.cluster.local web.two.svc.cluster.local
db.one.svc.cluster.local db-0.db.one.svc.cluster.local db-1.db.one.svc.cluster.local db-9.db.one.svc.cluster.local
10-244-1-7.db.one.svc.cluster.local _sql._tcp.db.one.svc.cluster.local _nope._tcp.db.one.svc.cluster.local
plain.one.svc.cluster.local empty.one.svc.cluster.local noports.one.svc.cluster.local six.one.svc.cluster.local
fd00-244--5.six.one.svc.cluster.local fd00-244--0.six.one.svc.cluster.local both.one.svc.cluster.local
out.one.svc.cluster.local in.one.svc.cluster.local dangling.one.svc.cluster.local round.one.svc.cluster.local
address.one.svc.cluster.local x.out.one.svc.cluster.local
1-2-3-4.one.pod.cluster.local 1-2-3-4.none.pod.cluster.local fd00--1.one.pod.cluster.local a.one.pod.cluster.local
1-2-3.one.pod.cluster.local x.1-2-3-4.one.pod.cluster.local
50.0.97.10.in-addr.arpa 5.1.244.10.in-addr.arpa 6.1.244.10.in-addr.arpa 7.1.244.10.in-addr.arpa 9.9.9.9.in-addr.arpa
97.10.in-addr.arpa in-addr.arpa ip6.arpa 5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.0.d.f.ip6.arpa
6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.0.d.f.ip6.arpa
www.example.com host.test alias.test 5-7.tpl.test gone.tpl.test foo.old.test
x.four.test six.four.test gone.four.test alias.four.test
web.one.svc.path.test db.two.one.svc.path.test host.one.svc.path.test www.example.one.svc.path.test nobody.one.svc.path.test web.svc.path.test
app.cname.test exact.cname.test x.new.cname.test gone.cname.test
x.echo.test a.secure.test b.secure.test
""".split()
SECURE = ["a.secure.test", "other.test"]  # asked over TLS, too

# (names, types, why): where we say otherwise, and mean it.
MEANT = [
    (r"^(cluster\.local|svc\.|pod\.|one\.|in-addr|ip6)", "TXT", "a name that exists has no such record: that is no NXDOMAIN"),
    (r"", "SOA", "below the apex a name that does not exist is NXDOMAIN for this type, too"),
    (r"^dns-version\.", "*", "the name exists whatever the type"),
    (r"^(ns\.)?dns\.cluster", "*", "the name exists whatever the type"),
    (r"", "ANY", "what there is, instead of nothing (RFC 8482 leaves it open)"),
    (r"^(out|in|dangling|round)\.one", "*", "a CNAME answers every type, and stays when its target has nothing (RFC 1034, 6604)"),
    (r"(in-addr|ip6)\.arpa$", "*", "a reverse name that exists has no records of other types: that is no NXDOMAIN"),
    (r"^cluster\.local$|^(in-addr|ip6)\.arpa$", "NS", "who answers for the zone is told, whatever address it is bound to"),
    (r"\.pod\.cluster", "SRV", "pods have no ports in DNS"),
    (r"^x\..*\.pod\.cluster", "*", "below a pod's name there are no names"),
]


def encode(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".") if x) + b"\0"


def read_name(wire, at):
    labels, after = [], None
    while True:
        n = wire[at]
        if n >= 0xC0:
            after = after or at + 2
            at = (n & 0x3F) << 8 | wire[at + 1]
            continue
        if not n:
            return ".".join(labels).lower(), after or at + 1
        labels.append(wire[at + 1 : at + 1 + n].decode("latin1"))
        at += 1 + n


def data_text(wire, at, kind, n):
    if kind in (2, 5, 12):
        return read_name(wire, at)[0]
    if kind == 33:
        return "%d %d %d %s" % (struct.unpack(">3H", wire[at : at + 6]) + (read_name(wire, at + 6)[0],))
    if kind == 6:
        mname, at = read_name(wire, at)
        rname, at = read_name(wire, at)
        return "%s %s %s" % (mname, rname, struct.unpack(">5I", wire[at : at + 20])[1:])
    return wire[at : at + n].hex()


def parse(wire):
    _, flags, questions, *counts = struct.unpack(">6H", wire[:12])
    at, sections = 12, []
    for _ in range(questions):
        at = read_name(wire, at)[1] + 4
    for count in counts:
        records = set()
        for _ in range(count):
            name, at = read_name(wire, at)
            kind, _, ttl, n = struct.unpack(">HHIH", wire[at : at + 10])
            if kind != 41:
                records.add("%s %d %d %s" % (name, ttl, kind, data_text(wire, at + 10, kind, n)))
            at += 10 + n
        sections.append(sorted(records))
    return {"code": flags & 15, "aa": bool(flags & 0x400), "tc": bool(flags & 0x200), "records": sections}


def ask(address, port, name, kind):
    question = struct.pack(">6H", 77, 0x100, 1, 0, 0, 1) + encode(name) + struct.pack(">HH", kind, 1)
    question += b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        for _ in range(3):
            s.sendto(question, (address, port))
            try:
                return parse(s.recv(65535))
            except socket.timeout:
                pass
    return {"code": "no answer"}


def ask_secure(address, port, name, kind):
    """RFC 7858. Whose certificate it is was looked at by the forwarders."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    question = struct.pack(">6H", 77, 0x100, 1, 0, 0, 0) + encode(name) + struct.pack(">HH", kind, 1)
    with socket.create_connection((address, port), 5) as plain, context.wrap_socket(plain) as s:
        s.sendall(struct.pack(">H", len(question)) + question)
        f = s.makefile("rb")
        return parse(f.read(struct.unpack(">H", f.read(2))[0]))


def echo(s):
    """A server of the world that answers TXT with the EDNS options that it was asked with."""
    while True:
        wire, peer = s.recvfrom(65535)
        name, at = read_name(wire, 12)
        kind, options = struct.unpack(">H", wire[at : at + 2])[0], []
        rest = wire[at + 4 + 11 :] if wire[11] else b""
        while rest:
            code, n = struct.unpack(">2H", rest[:4])
            options.append("%x=%s" % (code, rest[4 : 4 + n].hex()))
            rest = rest[4 + n :]
        text = " ".join(sorted(options)).encode()[:255]
        answer = b"\xc0\x0c" + struct.pack(">HHIHB", 16, 1, 60, len(text) + 1, len(text)) + text if kind == 16 else b""
        s.sendto(wire[:2] + struct.pack(">5H", 0x8180, 1, 1 if answer else 0, 0, 0) + wire[12 : at + 4] + answer, peer)


def why(name, kind):
    for i, (names, kinds, reason) in enumerate(MEANT):
        if re.search(names, name, re.I) and kinds in ("*", kind):
            return i
    return None


def main():
    ours, theirs = int(sys.argv[1]), int(sys.argv[2])
    address = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    same = bad = meant = 0
    world = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    world.bind(("127.0.0.1", 1060))
    threading.Thread(target=echo, args=(world,), daemon=True).start()
    options = ask(address, ours, "x.echo.test", 16)["records"][0]
    if not options or b"ffef=6162".hex() not in options[0]:
        sys.exit("the options that rules set do not arrive: %s" % options)
    for name in SECURE:
        a, b = ask_secure(address, 1853, name, 1), ask_secure(address, 1854, name, 1)
        same += a == b
        if a != b or a["code"] != (0 if "secure" in name else 3):
            bad += 1
            print("over TLS: %s\n   ours   %s\n   theirs %s" % (name, a, b))
    for name in NAMES:
        for text, kind in TYPES.items():
            a, b = ask(address, ours, name, kind), ask(address, theirs, name, kind)
            if a == b:
                same += 1
            elif why(name, text) is not None:
                meant += 1
                if "-v" in sys.argv:
                    print("meant: %s %s\n   ours   %s\n   theirs %s" % (name, text, a, b))
            else:
                bad += 1
                print("%s %s\n   ours   %s\n   theirs %s" % (name, text, a, b))
    print("%d questions: %d answered alike, %d otherwise and meant, %d otherwise" % (same + meant + bad, same, meant, bad))
    sys.exit(1 if bad or same < 300 else 0)


main()
