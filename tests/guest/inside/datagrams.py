"""Sends UDP datagrams as raw frames, with an 802.1Q tag or without.

datagrams.py INTERFACE MAC SOURCE SOURCE-PORT TARGET PORT untagged|VLAN COUNT
"""
import socket
import struct
import sys

interface, mac, source, source_port, target, port, vlan, count = sys.argv[1:]


def ones_sum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ip_packet(payload):
    def header(checksum):
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, 17, checksum,
                           socket.inet_aton(source), socket.inet_aton(target))
    return header(~ones_sum(header(0)) & 0xFFFF) + payload


udp = struct.pack("!HHHH", int(source_port), int(port), 8 + 32, 0) + bytes(32)  # checksum 0: none
tag = b"" if vlan == "untagged" else struct.pack("!HH", 0x8100, 5 << 13 | int(vlan))
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.bind((interface, 0))
    ends = bytes.fromhex(mac.replace(":", "")) + sock.getsockname()[4]
    for _ in range(int(count)):
        sock.send(ends + tag + struct.pack("!H", 0x0800) + ip_packet(udp))
