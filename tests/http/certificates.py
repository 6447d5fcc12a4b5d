"""Certificates for tests, made by openssl on the spot.

    cert, key = make(folder, "a.example")      paths of two PEM files; valid for 127.0.0.1 and 0.0.0.0 too
    make(folder, "a.example", expired=True)    its time was over in 2020

SPDX-License-Identifier: Apache-2.0
"""
import os
import subprocess

CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/{name}.index
serial = {folder}/{name}.serial
new_certs_dir = {folder}
default_md = sha256
policy = policy
x509_extensions = server
[policy]
commonName = supplied
[server]
subjectAltName = DNS:{name},IP:127.0.0.1,IP:0.0.0.0
basicConstraints = critical,CA:TRUE
[req]
distinguished_name = subject
[subject]
"""
KEYS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["-newkey", "rsa:2048"]}


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make(folder, name, expired=False, kind="ec"):
    path = os.path.join(folder, name)
    with open(path + ".conf", "w", encoding="ascii") as f:
        f.write(CONFIG.format(folder=folder, name=name))
    open(path + ".index", "w", encoding="ascii").close()
    openssl("req", "-new", *KEYS[kind], "-nodes", "-keyout", path + ".key", "-out", path + ".csr", "-subj", "/CN=" + name, "-config", path + ".conf")
    begin, end = ("20200101000000Z", "20200201000000Z") if expired else ("20200101000000Z", "20990101000000Z")
    openssl("ca", "-batch", "-selfsign", "-notext", "-create_serial", "-config", path + ".conf", "-keyfile", path + ".key", "-in", path + ".csr",
            "-out", path + ".pem", "-startdate", begin, "-enddate", end)
    os.chmod(path + ".key", 0o600)
    return path + ".pem", path + ".key"
