"""Echo connections that are held, and downloads without an end.

held.py serve ADDRESS PORT       echoes
held.py hold ADDRESS PORT COUNT  opens connections, prints "open N"; for each line of its standard input it sends over all, and
                                 prints "alive N"
held.py give ADDRESS PORT        sends numbered pieces to each client
held.py take ADDRESS PORT        takes them until the first one that is wrong, or the end of its standard input; for each line of
                                 that it prints "whole" after MORE more
"""
import contextlib
import itertools
import os
import select
import socket
import struct
import sys
import threading
import time

PATIENCE = 60
PIECE, PAUSE, MORE = 4096, 0.025, 60


def piece_of(number):
    return struct.pack("!Q", number) * (PIECE // 8)


def echo(sock):
    while data := sock.recv(4096):
        sock.sendall(data)


def give(sock):
    with contextlib.suppress(ConnectionError):
        for number in itertools.count():
            sock.sendall(piece_of(number))
            time.sleep(PAUSE)


def receive_exactly(sock, count):
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def take(address, port):
    last = None
    with socket.create_connection((address, port), PATIENCE) as sock:
        for number in itertools.count():
            piece = receive_exactly(sock, PIECE)
            if piece != piece_of(number):
                sys.exit(f"piece {number} is wrong, {len(piece)} bytes")
            if number == last:
                print("whole", flush=True)
            if select.select([0], [], [], 0)[0]:
                if not os.read(0, 64):
                    return
                last = number + MORE


def serve(address, port, answer):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=512) as listener:
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def alive(sock, text):
    try:
        sock.sendall(text)
        return receive_exactly(sock, len(text)) == text
    except OSError:
        return False


def hold(address, port, count):
    held = [socket.create_connection((address, port), PATIENCE) for _ in range(count)]
    print("open", sum(alive(sock, b"first") for sock in held), flush=True)
    for line in sys.stdin:
        print("alive", sum(alive(sock, line.encode()) for sock in held), flush=True)


command, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if command in ("serve", "give"):
    serve(address, port, echo if command == "serve" else give)
elif command == "take":
    take(address, port)
else:
    hold(address, port, int(sys.argv[4]))
