"""Sends an ARP request as a raw frame, with an 802.1Q tag or without, and prints the number of replies within a second.

arp_request.py INTERFACE SOURCE TARGET untagged|VLAN
"""
import socket
import struct
import sys
import time

interface, source, target, vlan = sys.argv[1:]

tag = b"" if vlan == "untagged" else struct.pack("!HH", 0x8100, int(vlan))
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)) as sock:
    sock.bind((interface, 0x0003))
    mac = sock.getsockname()[4]
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, socket.inet_aton(source), bytes(6),
                      socket.inet_aton(target))
    sock.send(b"\xff" * 6 + mac + tag + struct.pack("!H", 0x0806) + arp + bytes(18))
    end = time.monotonic() + 1
    replies = 0
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            frame = sock.recv(2048)
        except socket.timeout:
            break
        # The kernel has removed a tag: all replies to this request count, tagged or not.
        replies += frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[28:32] == socket.inet_aton(target)
    print(replies)
