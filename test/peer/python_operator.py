# SPDX-License-Identifier: Apache-2.0
"""An operator for Gadgets: creation, a field's change, a timer, the end."""

import kopf
import kubernetes

kubernetes.config.load_kube_config()
maps = kubernetes.client.CoreV1Api()


@kopf.on.create("gadgets.peer.test")
def made(spec, name, namespace, **_):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"size": str(spec["size"])}}
    kopf.adopt(body)
    maps.create_namespaced_config_map(namespace, body)
    return {"said": f"made {spec['size']}"}


@kopf.on.field("gadgets.peer.test", field="spec.size")
def resized(old, new, body, **_):
    if old is not None:
        kopf.info(body, reason="Grown", message=f"from {old}")
    return {"said": f"{old} to {new}"} if old is not None else None


@kopf.timer("gadgets.peer.test", interval=2.0)
def ticking(**_):
    return {"said": "yes"}


@kopf.on.delete("gadgets.peer.test")
def ended(name, namespace, **_):
    maps.create_namespaced_config_map(namespace, {"metadata": {"name": f"{name}-end"}, "data": {"said": "gone"}})
