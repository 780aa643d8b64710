#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""who_has.py LINK ADDRESS: asks a link who has an address, by ARP or neighbour discovery, five times in a second, and prints the hardware
addresses that answered, in order, each once."""
import ipaddress
import select
import socket
import struct
import sys
import time

link, address = sys.argv[1], ipaddress.ip_address(sys.argv[2])
index = socket.if_nametoindex(link)
own = bytes.fromhex(open(f"/sys/class/net/{link}/address").read().strip().replace(":", ""))


def arp():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0806))
    s.bind((link, 0x0806))
    question = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + own + bytes(4) + bytes(6) + address.packed

    def send():
        s.sendto(question, (link, 0x0806, 0, 0, b"\xff" * 6))

    def read():
        m = s.recv(1500)
        return m[8:14] if m[6:8] == b"\0\2" and m[14:18] == address.packed else None
    return s, send, read


def neighbour():
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode() + b"\0")
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    group = ipaddress.ip_address(int(ipaddress.ip_address("ff02::1:ff00:0")) | int(address) & 0xffffff)
    question = struct.pack("!BBHI", 135, 0, 0, 0) + address.packed + b"\1\1" + own

    def send():
        s.sendto(question, (str(group), 0, 0, index))

    def read():
        m = s.recv(1500)
        return m[26:32] if m[0] == 136 and m[8:24] == address.packed else None
    return s, send, read


s, send, read = arp() if address.version == 4 else neighbour()
seen = set()
for _ in range(5):
    send()
    until = time.monotonic() + 0.2
    while (left := until - time.monotonic()) > 0:
        if select.select([s], [], [], left)[0] and (mac := read()):
            seen.add(mac.hex(":"))
print(*sorted(seen))
