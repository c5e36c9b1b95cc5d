"""Opens connections to a virtual service in a fixed order, and prints of each who answered.

connections.py row ADDRESS:PORT COUNT       from one address, one after the other, each closed at once;
                                            prints only how many were answered
connections.py each ADDRESS:PORT COUNT      one from each of COUNT addresses of 10.0.0.0/8, closed at once
connections.py mixed ADDRESS:PORT SEED OPERATIONS
                                            opened and closed at random, up to OPEN (40) at a time; then one
                                            half is closed and the rest held, until a line comes on stdin
connections.py datagrams ADDRESS:PORT COUNT ROUNDS
                                            one to ROUNDS datagrams of several lengths from each of COUNT addresses,
                                            one of each address in a round

Source ports count up from BASE (20000); mixed takes SOURCES (5) addresses. With TRANSPORT=sctp the connections are
SCTP associations. It needs an interface eth0.
"""
import os
import random
import socket
import subprocess
import sys
import time

BASE = int(os.environ.get("BASE", "20000"))
OPEN = int(os.environ.get("OPEN", "40"))
SOURCES = int(os.environ.get("SOURCES", "5"))
SCTP = os.environ.get("TRANSPORT") == "sctp"


def address(number):
    return f"10.{number * 7919 >> 8 & 255}.{number * 7919 & 255}.{1 + number * 31 % 254}"


def take_addresses(count):
    batch = "".join(f"address replace {address(number)}/32 dev eth0\n" for number in range(count))
    subprocess.run(["ip", "-batch", "-"], input=batch.encode(), check=True)


def connect(source, port):
    """Returns the connection, and the name of the server that answered a request."""
    sock = socket.socket(proto=socket.IPPROTO_SCTP if SCTP else 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(10)
    sock.bind((source, port))
    sock.connect(TARGET)
    if SCTP:
        sock.sendall(b"who?")
        return sock, sock.recv(4096).decode()
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return sock, sock.recv(4096).split(b"\r\n\r\n")[1].decode().strip()


def close(sock):
    """Closes in order: our FIN, the server's, the last ACK, for which the pause leaves time.

    An SCTP socket goes on with its shutdown after close, and its receiver is not woken by the end.
    """
    if SCTP:
        sock.close()
        time.sleep(0.1)
        return
    sock.shutdown(socket.SHUT_WR)
    try:
        sock.recv(1)
    except OSError:
        pass
    sock.close()
    time.sleep(0.004)


def attempt(source, port):
    """Opens and prints who answered. None if nothing did."""
    try:
        sock, name = connect(source, port)
    except OSError as error:
        sock, name = None, f"none ({error})"
    print(source, port, name)
    return sock


def each(count):
    take_addresses(count)
    for number in range(count):
        if sock := attempt(address(number), BASE + number):
            close(sock)


def row(count):
    take_addresses(1)
    answered = 0
    for number in range(count):
        sock, name = connect(address(0), BASE + number)
        close(sock)
        answered += name.startswith("rs")
    print("answered", answered)


def mixed(seed, operations):
    draw, held, number = random.Random(seed), [], 0
    take_addresses(SOURCES)
    for _ in range(operations):
        if held and (len(held) >= OPEN or draw.random() < 0.42):
            close(held.pop(draw.randrange(len(held))))
            continue
        source = address(draw.randrange(SOURCES))
        number += 1
        if sock := attempt(source, BASE + number):
            held.append(sock)
    for sock in held[: len(held) // 2]:
        close(sock)
    print("open at the end", len(held) - len(held) // 2, flush=True)
    sys.stdin.readline()


def answer(source, port, length):
    """Sends a datagram. Returns the name of the server that answered, or none."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.bind((source, port))
        sock.connect(TARGET)
        sock.send(bytes(length))
        try:
            return sock.recv(4096).decode()
        except OSError as error:
            return f"none ({error})"


def datagrams(count, rounds):
    take_addresses(count)
    for turn in range(rounds):
        for number in range(count):
            if number % rounds >= turn:
                source, port = address(number), BASE + number
                print(source, port, answer(source, port, (number * 37 + turn) % 1400))


WHAT, WHERE = sys.argv[1:3]
TARGET = (WHERE.rsplit(":", 1)[0], int(WHERE.rsplit(":", 1)[1]))
{"each": each, "row": row, "mixed": mixed, "datagrams": datagrams}[WHAT](*map(int, sys.argv[3:]))
