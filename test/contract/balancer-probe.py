# Who answers behind a VIP, told by packets: servers, many questions one after another, one socket that goes on asking.
# In: a verb and its arguments (the program itself comes by stdin). Out: one JSON object, or lines in a file.
# Rule: standard library of python3-minimal only; it runs in namespaces of this machine and of a virtual one.
import json, select, socket, sys, time

KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}


def speaks(kind):
    """Whether this kernel has it."""
    try:
        socket.socket(socket.AF_INET, *KINDS[kind]).close()
        return True
    except OSError:
        return False


def serve(name, *ports):
    """NAME PORT...: answers each line or datagram with its name and the client's address."""
    listeners, open_ones = {}, []
    for port in ports:
        for kind in filter(speaks, KINDS):
            one = socket.socket(socket.AF_INET, *KINDS[kind])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("", int(port)))
            if kind != "udp":
                one.listen(1024)
            listeners[one] = kind
    while True:
        for one in select.select(list(listeners) + open_ones, [], [])[0]:
            if listeners.get(one, "udp") != "udp":
                open_ones.append(one.accept()[0])
            elif one in listeners:
                # The answer leaves from the address that was asked when routing says so: the address of this place alone.
                peer = one.recvfrom(100)[1]
                one.sendto(f"{name} {peer[0]}".encode(), peer)
            else:
                try:
                    said = one.recv(100)
                    if said:
                        one.sendall(f"{name} {one.getpeername()[0]}".encode())
                except OSError:
                    said = b""
                if not said:
                    open_ones.remove(one)
                    one.close()


def question(one):
    one.sendall(b"?")
    return one.recv(100).decode()


def opened(kind, address, port, seconds):
    one = socket.socket(socket.AF_INET, *KINDS[kind])
    one.settimeout(float(seconds))
    one.connect((address, int(port)))
    return one


def ask(kind, port, count, seconds, *addresses):
    """A new socket for every question, the addresses in turn."""
    told = [{"by": {}, "peers": {}, "refused": 0, "silent": 0} for _ in addresses]
    for _ in range(int(count)):
        for address, tally in zip(addresses, told):
            try:
                one = opened(kind, address, port, seconds)
                name, peer = question(one).split(" ")
                one.close()
                tally["by"][name] = tally["by"].get(name, 0) + 1
                tally["peers"][peer] = tally["peers"].get(peer, 0) + 1
            except (ConnectionRefusedError, ConnectionResetError):
                tally["refused"] += 1
            except (OSError, ValueError):
                tally["silent"] += 1
    print(json.dumps(told))


def hold(kind, port, address, path):
    """One socket asks ten times a second: a line per question, "none" for no answer, "gone" once it is refused or closed."""
    one = opened(kind, address, port, 1)
    while True:
        try:
            said = question(one).split(" ")[0] or "gone"
        except socket.timeout:
            said = "none"
        except OSError:
            said = "gone"
        with open(path, "a") as file:
            file.write(said + "\n")
        if said == "gone" and kind == "tcp":
            return
        time.sleep(0.1)


{"serve": serve, "ask": ask, "hold": hold, "speaks": lambda kind: print(json.dumps(speaks(kind)))}[sys.argv[1]](*sys.argv[2:])
