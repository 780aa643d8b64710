#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Talks for 61-overlay and bench/net_vxlan.

serve                      answers on TCP and UDP port 7000 (first line: what is wanted)
tcp HOST BYTES             sends that many bytes, gets them back, compares; prints our address as the other side saw it
udp HOST BYTES             the same in one datagram
rate HOST SECONDS          sends as fast as it goes; prints bytes a second as the other side counted them
capture LINK SECONDS       prints "VNI PORT FROM TO" of each VXLAN packet's kind that passes
"""
import hashlib
import os
import socket
import struct
import sys
import threading
import time

PORT = 7000


def receive(s, n):
    parts = bytearray()
    while len(parts) < n:
        part = s.recv(min(1 << 20, n - len(parts)))
        if not part:
            raise SystemExit(f"cut off after {len(parts)} of {n} bytes")
        parts += part
    return bytes(parts)


def answer(s, peer):
    with s:
        n = struct.unpack("!Q", receive(s, 8))[0]
        if n:
            data = receive(s, n)
            s.sendall(hashlib.sha256(data).digest() + peer[0].encode().ljust(64))
            s.sendall(data)
            return
        buf, total, start = bytearray(1 << 20), 0, time.monotonic()
        while got := s.recv_into(buf):
            total += got
        print(total / (time.monotonic() - start), flush=True)


def serve():
    tcp = socket.create_server(("0.0.0.0", PORT), reuse_port=True)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", PORT))

    def datagrams():
        while True:
            data, peer = udp.recvfrom(65536)
            udp.sendto(data, peer)
    threading.Thread(target=datagrams, daemon=True).start()
    print("up", flush=True)
    while True:
        s, peer = tcp.accept()
        threading.Thread(target=answer, args=(s, peer), daemon=True).start()


def tcp(host, n):
    data = os.urandom(int(n))
    with socket.create_connection((host, PORT), 5) as s:
        s.settimeout(10)
        s.sendall(struct.pack("!Q", len(data)) + data)
        digest, peer, back = receive(s, 32), receive(s, 64), receive(s, len(data))
    if digest != hashlib.sha256(data).digest() or back != data:
        raise SystemExit("other bytes came back")
    print(peer.decode().strip())


def udp(host, n):
    data = os.urandom(int(n))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        for _ in range(5):
            s.sendto(data, (host, PORT))
            try:
                if s.recvfrom(65536)[0] == data:
                    print("same")
                    return
            except TimeoutError:
                pass
    raise SystemExit("no answer")


def rate(host, seconds):
    data = bytes(1 << 20)
    total, end = 0, time.monotonic() + float(seconds)
    with socket.create_connection((host, PORT), 5) as s:
        s.sendall(struct.pack("!Q", 0))
        start = time.monotonic()
        while time.monotonic() < end:
            s.sendall(data)
            total += len(data)
        s.shutdown(socket.SHUT_WR)
        s.recv(1)
        print(int(total / (time.monotonic() - start)))


def capture(link, seconds):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((link, 0))
    s.settimeout(0.2)
    print("up", flush=True)
    end, seen = time.monotonic() + float(seconds), set()
    while time.monotonic() < end:
        try:
            p = s.recv(65536)
        except TimeoutError:
            continue
        if len(p) < 50 or p[12:14] != b"\x08\x00" or p[23] != 17:
            continue
        at = 14 + (p[14] & 15) * 4
        port, vni = struct.unpack("!H", p[at + 2:at + 4])[0], struct.unpack("!I", p[at + 12:at + 16])[0] >> 8
        if port not in (8472, 4789):
            continue
        kind = (vni, port, socket.inet_ntoa(p[26:30]), socket.inet_ntoa(p[30:34]))
        if kind not in seen:
            seen.add(kind)
            print(*kind, flush=True)


{"serve": serve, "tcp": tcp, "udp": udp, "rate": rate, "capture": capture}[sys.argv[1]](*sys.argv[2:])
