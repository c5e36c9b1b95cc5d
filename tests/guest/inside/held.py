"""Echo connections that are held, and downloads that take 30 seconds.

held.py serve ADDRESS PORT       echoes
held.py hold ADDRESS PORT COUNT  opens connections, prints "open N"; for each line of its standard input it sends over all, and
                                 prints "alive N"
held.py give ADDRESS PORT        sends numbered pieces to each client
held.py take ADDRESS PORT        takes them, and prints "whole" or where the first piece is wrong
"""
import socket
import struct
import sys
import threading
import time

PATIENCE = 60
PIECES, PIECE, PAUSE = 1200, 4096, 0.025


def echo(sock):
    while data := sock.recv(4096):
        sock.sendall(data)


def give(sock):
    for number in range(PIECES):
        sock.sendall(struct.pack("!Q", number) * (PIECE // 8))
        time.sleep(PAUSE)
    sock.close()


def receive_exactly(sock, count):
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def take(address, port):
    with socket.create_connection((address, port), PATIENCE) as sock:
        for number in range(PIECES):
            piece = receive_exactly(sock, PIECE)
            if piece != struct.pack("!Q", number) * (PIECE // 8):
                sys.exit(f"piece {number} of {PIECES} is wrong, {len(piece)} bytes")
    print("whole")


def serve(address, port, answer):
    with socket.create_server((address, port), backlog=512) as listener:
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
