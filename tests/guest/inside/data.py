"""Carries data through a director and compares its SHA-256.

data.py serve            takes data at port 81, sends the requested amount at port 82
data.py up ADDRESS MB    sends, and requests the sum of the received bytes
data.py down ADDRESS MB  requests data and its sum
"""
import hashlib
import random
import socket
import sys
import threading
import time

UP, DOWN = 81, 82


def receive(sock, digest):
    got = 0
    while data := sock.recv(65536):
        digest.update(data)
        got += len(data)
    return got


def take(sock):
    digest = hashlib.sha256()
    got = receive(sock, digest)
    sock.sendall(f"{got} {digest.hexdigest()}\n".encode())
    sock.close()


def give(sock):
    data = random.Random(7).randbytes(int(sock.recv(64)) << 20)
    sock.sendall(hashlib.sha256(data).digest() + data)
    sock.close()


def listen(port, answer):
    with socket.create_server(("", port), backlog=512) as listener:
        while True:
            client = listener.accept()[0]
            threading.Thread(target=answer, args=(client,), daemon=True).start()


def upload(sock, size):
    data = random.Random(8).randbytes(size)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    got, digest = sock.makefile().read().split()
    return int(got), digest == hashlib.sha256(data).hexdigest()


def download(sock, size):
    sock.sendall(str(size >> 20).encode())
    want = b""
    while len(want) < 32:
        want += sock.recv(32 - len(want))
    digest = hashlib.sha256()
    got = receive(sock, digest)
    return got, digest.digest() == want


def transfer(direction, address, megabytes):
    carry, port = {"up": (upload, UP), "down": (download, DOWN)}[direction]
    start, size = time.monotonic(), megabytes << 20
    try:
        with socket.create_connection((address, port), timeout=15) as sock:
            got, same = carry(sock, size)
    except (OSError, ValueError) as error:
        sys.exit(f"{direction}: {error} after {time.monotonic() - start:.1f} s")
    if got != size:
        sys.exit(f"{direction}: {got} bytes of {size}")
    if not same:
        sys.exit(f"{direction}: the checksum of {got} bytes differs")
    print(f"{direction}: {got} bytes in {time.monotonic() - start:.1f} s, checksum equal")


if sys.argv[1] == "serve":
    threading.Thread(target=listen, args=(DOWN, give), daemon=True).start()
    listen(UP, take)
else:
    transfer(sys.argv[1], sys.argv[2], int(sys.argv[3]))
