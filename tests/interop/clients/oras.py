# SPDX-License-Identifier: Apache-2.0
"""Pushes and pulls with oras-py.

push REFERENCE FILE   pushes a file of this folder as the only layer, prints the digest of the manifest
pull REFERENCE        pulls into this folder, the manifest as manifest.json, and prints the path of the layer

CA_FILE says whom to trust, and that the registry speaks TLS; REGISTRY_USER and REGISTRY_PASSWORD who asks, and
REGISTRY_AUTH in which way: basic or token.
"""

import hashlib
import logging
import os
import sys

import oras.client
import oras.defaults

MEDIA_TYPE = "application/vnd.example.content.v1.tar+gzip"


def main(verb, reference, *files):
    logging.getLogger("oras").setLevel(logging.CRITICAL)
    authority = os.environ.get("CA_FILE")
    client = oras.client.OrasClient(
        hostname=reference.split("/")[0],
        insecure=authority is None,
        tls_verify=authority or True,
        auth_backend=os.environ["REGISTRY_AUTH"],
    )
    if "REGISTRY_USER" in os.environ:
        client.auth.set_basic_auth(os.environ["REGISTRY_USER"], os.environ["REGISTRY_PASSWORD"])
    if verb == "push":
        push(client, reference, *files)
    else:
        pull(client, reference)


def push(client, reference, file):
    # The library keeps the first token it gets for whatever it does next, and the first thing it does is to look for
    # the blob, for which a token to pull is enough. So the first thing it does here needs a token to push.
    upload = client.get_container(reference).upload_blob_url()
    client.do_request(f"{client.prefix}://{upload}", "POST").raise_for_status()
    client.push(target=reference, files=[f"{file}:{MEDIA_TYPE}"], quiet=True)
    print("sha256:" + hashlib.sha256(manifest(client, reference)).hexdigest())


def pull(client, reference):
    with open("manifest.json", "wb") as file:
        file.write(manifest(client, reference))
    (layer,) = client.pull(target=reference, outdir=os.getcwd())
    print(layer)


def manifest(client, reference):
    """The bytes; the library's own function gives the document, parsed."""
    url = f"{client.prefix}://{client.get_container(reference).manifest_url()}"
    accept = ", ".join(oras.defaults.default_manifest_accepted_media_types)
    response = client.do_request(url, headers={"Accept": accept})
    response.raise_for_status()
    return response.content


main(*sys.argv[1:])
