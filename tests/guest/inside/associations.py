"""Answers each SCTP association with a name, and closes it when the client does: associations.py ADDRESS PORT NAME"""
import socket
import sys
import threading


def serve(association):
    with association:
        while association.recv(4096):
            association.sendall(sys.argv[3].encode())


with socket.socket(type=socket.SOCK_STREAM, proto=socket.IPPROTO_SCTP) as listener:
    listener.bind((sys.argv[1], int(sys.argv[2])))
    listener.listen(512)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
