"""Carries data through a director and compares its SHA-256.

data.py serve [ADDRESS]  takes data at port 81, sends the requested amount at port 82
data.py up ADDRESS MB    sends, and requests the sum of the received bytes
data.py down ADDRESS MB  requests data and its sum

With TRANSPORT=sctp by SCTP associations, which have no other addresses than ADDRESS and SOURCE.
"""
import hashlib
import os
import random
import socket
import struct
import sys
import threading
import time

UP, DOWN = 81, 82
SCTP = os.environ.get("TRANSPORT") == "sctp"


def new_socket(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP if SCTP else 0)


def send(sock, data):
    """In pieces: a message of SCTP has to fit into the send buffer."""
    for begin in range(0, len(data), 16384):
        sock.sendall(data[begin : begin + 16384])


def receive_exactly(sock, count):
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def receive(sock, digest):
    got = 0
    while data := sock.recv(65536):
        digest.update(data)
        got += len(data)
    return got


def take(sock):
    """As many bytes as are announced: SCTP has no half-closed state."""
    (size,) = struct.unpack("!Q", receive_exactly(sock, 8))
    digest, got = hashlib.sha256(), 0
    while got < size and (data := sock.recv(min(65536, size - got))):
        digest.update(data)
        got += len(data)
    sock.sendall(f"{got} {digest.hexdigest()}\n".encode())
    sock.close()


def give(sock):
    data = random.Random(7).randbytes(int(sock.recv(64)) << 20)
    send(sock, hashlib.sha256(data).digest() + data)
    sock.close()


def listen(address, port, answer):
    with new_socket(address) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(512)
        while True:
            client = listener.accept()[0]
            threading.Thread(target=answer, args=(client,), daemon=True).start()


def upload(sock, size):
    data = random.Random(8).randbytes(size)
    sock.sendall(struct.pack("!Q", size))
    send(sock, data)
    got, digest = sock.makefile().read().split()
    return int(got), digest == hashlib.sha256(data).hexdigest()


def download(sock, size):
    sock.sendall(str(size >> 20).encode())
    want, digest = receive_exactly(sock, 32), hashlib.sha256()
    got = receive(sock, digest)
    return got, digest.digest() == want


def transfer(direction, address, megabytes):
    carry, port = {"up": (upload, UP), "down": (download, DOWN)}[direction]
    start, size = time.monotonic(), megabytes << 20
    try:
        with new_socket(address) as sock:
            sock.settimeout(15)
            if source := os.environ.get("SOURCE"):
                sock.bind((source, 0))
            sock.connect((address, port))
            got, same = carry(sock, size)
    except (OSError, ValueError) as error:
        sys.exit(f"{direction}: {error} after {time.monotonic() - start:.1f} s")
    if got != size:
        sys.exit(f"{direction}: {got} bytes of {size}")
    if not same:
        sys.exit(f"{direction}: the checksum of {got} bytes differs")
    print(f"{direction}: {got} bytes in {time.monotonic() - start:.1f} s, checksum equal")


if sys.argv[1] == "serve":
    at = sys.argv[2] if len(sys.argv) > 2 else ""
    threading.Thread(target=listen, args=(at, DOWN, give), daemon=True).start()
    listen(at, UP, take)
else:
    transfer(sys.argv[1], sys.argv[2], int(sys.argv[3]))
