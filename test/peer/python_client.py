# SPDX-License-Identifier: Apache-2.0
"""The Python client at an API server: typed and dynamic calls, patches of every kind, pages, watches, subresources, errors."""

import threading
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.utils import create_from_dict

failed = False


def check(name, good, seen=""):
    print(("ok " if good else "FAILED ") + name, "" if good else str(seen)[:300].replace("\n", " "), flush=True)


def refused(code, fn, *args, **kw):
    try:
        return (False, fn(*args, **kw))
    except ApiException as e:
        return (e.status == code, e)


config.load_kube_config()
core, apps, api = client.CoreV1Api(), client.AppsV1Api(), client.ApiClient()
check("version", client.VersionApi().get_code().git_version.startswith("v1.37"))
check("groups", any(g.name == "apps" for g in client.ApisApi().get_api_versions().groups))

# Typed: a Deployment through its life.
labels = {"app": "py"}
deployment = client.V1Deployment(
    metadata=client.V1ObjectMeta(name="py", labels=labels),
    spec=client.V1DeploymentSpec(replicas=1, selector=client.V1LabelSelector(match_labels=labels), template=client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="x", resources=client.V1ResourceRequirements(requests={"cpu": "100m"}))]))))
got = apps.create_namespaced_deployment("default", deployment)
check("create: defaults come back", got.spec.strategy.rolling_update.max_surge == "25%" and got.spec.template.spec.containers[0].image_pull_policy == "Always", got.spec)
check("create: times are times", got.metadata.creation_timestamp.tzinfo is not None)
ok, e = refused(409, apps.create_namespaced_deployment, "default", deployment)
check("create twice: 409", ok and "AlreadyExists" in e.body, e)


def scaled():
    scale = apps.read_namespaced_deployment_scale("py", "default")
    scale.spec.replicas = 3
    return apps.replace_namespaced_deployment_scale("py", "default", scale).spec.replicas


for _ in range(20):  # the controller writes, too
    ok, got = refused(409, scaled)
    if not ok:
        break
check("scale", got == 3, got)
got = apps.patch_namespaced_deployment("py", "default", {"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "y"}]}}}})
check("a strategic patch merges by key", sorted(c.name for c in got.spec.template.spec.containers) == ["c", "d"])
got = apps.patch_namespaced_deployment("py", "default", [{"op": "replace", "path": "/spec/replicas", "value": 2}])
check("a JSON patch", got.spec.replicas == 2)
got = apps.patch_namespaced_deployment("py", "default", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "py"}, "spec": {"replicas": 4}},
                                       field_manager="py", force=True, _content_type="application/apply-patch+yaml")
check("server-side apply", got.spec.replicas == 4 and any(m.manager == "py" and m.operation == "Apply" for m in got.metadata.managed_fields))
old = apps.read_namespaced_deployment("py", "default")
apps.patch_namespaced_deployment("py", "default", {"metadata": {"annotations": {"a": "b"}}})
old.spec.replicas = 9
ok, e = refused(409, apps.replace_namespaced_deployment, "py", "default", old)
check("an old version: 409", ok, e)
got = apps.patch_namespaced_deployment("py", "default", {"spec": {"replicas": 8}}, dry_run="All")
check("dry run", got.spec.replicas == 8 and apps.read_namespaced_deployment("py", "default").spec.replicas == 4)
ok, e = refused(422, apps.patch_namespaced_deployment, "py", "default", {"spec": {"replicas": -1}})
check("nonsense: 422 with its field", ok and "spec.replicas" in e.body, e)

# Pages, selectors, watches.
for i in range(25):
    core.create_namespaced_config_map("default", {"metadata": {"name": f"page-{i:02}", "labels": {"odd": str(i % 2)}}})
names, more = [], None
while True:
    page = core.list_namespaced_config_map("default", limit=7, _continue=more, label_selector="odd")
    names += [m.metadata.name for m in page.items]
    more = page.metadata._continue
    if not more:
        break
check("pages", names == [f"page-{i:02}" for i in range(25)], names)
check("label selector", len(core.list_namespaced_config_map("default", label_selector="odd in (1)").items) == 12)
check("field selector", len(core.list_namespaced_config_map("default", field_selector="metadata.name=page-03").items) == 1)
version = core.list_namespaced_config_map("default").metadata.resource_version
seen = []


def follow():
    for event in watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=version, timeout_seconds=8):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            return


t = threading.Thread(target=follow)
t.start()
core.create_namespaced_config_map("default", {"metadata": {"name": "watched"}})
core.patch_namespaced_config_map("watched", "default", {"data": {"a": "b"}})
core.delete_namespaced_config_map("watched", "default")
t.join(15)
check("watch", seen == [("ADDED", "watched"), ("MODIFIED", "watched"), ("DELETED", "watched")], seen)
begun = time.monotonic()
kinds = [e["type"] for e in watch.Watch().stream(core.list_namespaced_config_map, "default", timeout_seconds=2, label_selector="odd=0")]
check("a watch without version begins with what is there, and ends in time", kinds.count("ADDED") == 13 and time.monotonic() - begun < 20, kinds)
core.delete_collection_namespaced_config_map("default", label_selector="odd")
check("a collection goes", not core.list_namespaced_config_map("default", label_selector="odd").items)

# Dynamic: by discovery, custom kinds, Lists of objects.
dyn = dynamic.DynamicClient(api)
gadgets = dyn.resources.get(api_version="peer.test/v1", kind="Gadget")
made = gadgets.create(body={"apiVersion": "peer.test/v1", "kind": "Gadget", "metadata": {"name": "dyn"}, "spec": {"size": 1}}, namespace="default")
check("dynamic: a custom kind", made.spec.size == 1 and made.metadata.generation == 1)
check("dynamic: merge patch", gadgets.patch(name="dyn", namespace="default", body={"spec": {"size": 2}}, content_type="application/merge-patch+json").metadata.generation == 2)
status = gadgets.status.patch(name="dyn", namespace="default", body={"status": {"x": {"y": [1, None]}}}, content_type="application/merge-patch+json")
check("dynamic: its status", status.status.x["y"] == [1, None] and status.metadata.generation == 2, status)
gadgets.server_side_apply(body={"apiVersion": "peer.test/v1", "kind": "Gadget", "metadata": {"name": "dyn"}, "spec": {"size": 3}}, namespace="default", field_manager="d", force_conflicts=True)
check("dynamic: server-side apply", gadgets.get(name="dyn", namespace="default").spec.size == 3)
check("dynamic: by short name", dyn.resources.get(short_names=["gd"]).kind == "Gadget")
gadgets.delete(name="dyn", namespace="default")
ok, e = refused(404, gadgets.get, name="dyn", namespace="default")
check("dynamic: gone is 404", ok, e)
create_from_dict(api, {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}},
                                                                     {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}}]})
check("create_from_dict", core.read_namespaced_secret("s", "default").data == {"a": "Yg=="} and core.read_namespaced_service("s", "default").spec.cluster_ip)

# Who am I, what may I; tokens.
review = client.AuthorizationV1Api().create_self_subject_access_review({"spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": "default"}}})
check("access review", review.status.allowed)
token = core.create_namespaced_service_account_token("default", "default", {"spec": {"expirationSeconds": 600}}).status.token
mine = client.Configuration.get_default_copy()
mine.api_key = {"authorization": "Bearer " + token}
mine.cert_file = mine.key_file = None
other = client.ApiClient(mine)
me = client.AuthenticationV1Api(other).create_self_subject_review({}).status.user_info.username
check("a token", me == "system:serviceaccount:default:default", me)
ok, e = refused(403, client.CoreV1Api(other).list_node)
check("which may not", ok, e)
ok, e = refused(404, core.read_namespaced_pod_log, "absent", "default")
check("a log of nobody: 404", ok, e)
apps.delete_namespaced_deployment("py", "default", propagation_policy="Foreground")
end = time.monotonic() + 20
while time.monotonic() < end and core.list_namespaced_pod("default", label_selector="app=py").items:
    time.sleep(0.3)
check("foreground deletion", not core.list_namespaced_pod("default", label_selector="app=py").items)
