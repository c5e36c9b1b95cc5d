"""Answers each datagram to a UDP port with a name: answer.py ADDRESS PORT NAME."""
import socket
import sys

address, port, name = sys.argv[1:]
with socket.socket(type=socket.SOCK_DGRAM) as sock:
    sock.bind((address, int(port)))
    while True:
        sock.sendto(name.encode(), sock.recvfrom(4096)[1])
