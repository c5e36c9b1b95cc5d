"""Succeeds when the director serves every VIP and has the MAC address of every real server."""
import http.client
import json
import socket


class Director(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/directrix/control.sock")


director = Director("localhost")
director.request("GET", "/v1/services")
services = json.load(director.getresponse())["services"]
servers = [server for service in services for server in service["servers"]]
assert all(service["state"] == "claimed" for service in services)
assert all(server["state"] == "reachable" for server in servers)
