/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come in and do what: certificates, tokens, impersonation, RBAC, the Node authorizer. */
#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "auth/pki.h"
#include "auth/x509.h"
#include "wire/json.h"
#include "wire/leaf.h"
#include "base/os.h"

struct cluster {
    struct fixture f;
    char dir[64];
    struct apiserver_config config;
    struct pki_config pki;
    struct http_client *clients[16];
    size_t n_clients;
};

static const char *file(struct cluster *c, const char *name)
{
    return arena_printf(&c->f.arena, "%s/%s", c->dir, name).p;
}

/* From here on requests come from this identity; cn NULL: nobody. */
static void become(struct cluster *c, const char *cn, const char *org)
{
    struct fixture *f = &c->f;
    struct err e = {0};
    struct tls_client_config t = {0};
    struct tls_client *tls = NULL;
    const char *const orgs[] = {org, NULL};
    assert_int_equal(os_read_file(&f->arena, file(c, "ca.crt"), 1 << 20, &t.ca), 0);
    if (cn)
        assert_int_equal(pki_client_cert(&f->arena, &c->pki, cn, orgs, &t.key.cert_pem, &t.key.key_pem, &e),
                         0);
    assert_int_equal(tls_client_new(&t, &tls, &e), 0);
    f->http = http_client_new(&(struct http_client_config){.tls = tls});
    tls_client_unref(tls);
    c->clients[c->n_clients++] = f->http;
}

static void cluster_start(struct cluster *c)
{
    static const char *const ips[] = {"127.0.0.1", NULL};
    struct err e = {0};
    *c = (struct cluster){.dir = "/tmp/cube-apiserver-XXXXXX"};
    assert_non_null(mkdtemp(c->dir));
    c->pki = (struct pki_config){
        .dir = c->dir, .apiserver_ips = ips, .dns_domain = "cluster.local", .now = os_wall()};
    int r = pki_ensure(&c->f.arena, &c->pki, NULL, &e);
    if (r < 0)
        fail_msg("%s", err_text(&e, r));
    c->config = (struct apiserver_config){.tls_cert = file(c, "apiserver.crt"),
                                          .tls_key = file(c, "apiserver.key"),
                                          .client_ca = file(c, "ca.crt"),
                                          .front_proxy_ca = file(c, "front-proxy-ca.crt"),
                                          .sa_signing_key = file(c, "sa.key"),
                                          .bootstrap_tokens = true};
    struct arena kept = c->f.arena;
    fixture_start(&c->f, &c->config);
    c->f.arena = kept;
    c->clients[c->n_clients++] = c->f.http;
    become(c, "admin", "system:masters");
}

static void cluster_stop(struct cluster *c)
{
    for (size_t i = 0; i + 1 < c->n_clients; i++)
        http_client_free(c->clients[i]);
    c->f.http = c->clients[c->n_clients - 1];
    char command[128];
    fixture_stop(&c->f);
    snprintf(command, sizeof(command), "rm -rf %s", c->dir);
    assert_int_equal(system(command), 0);
}

/* With what the front proxies' authority signed. */
static void become_proxy(struct cluster *c)
{
    struct fixture *f = &c->f;
    struct err e = {0};
    struct tls_client_config t = {0};
    struct tls_client *tls = NULL;
    assert_int_equal(os_read_file(&f->arena, file(c, "ca.crt"), 1 << 20, &t.ca), 0);
    assert_int_equal(os_read_file(&f->arena, file(c, "front-proxy-client.crt"), 1 << 20, &t.key.cert_pem), 0);
    assert_int_equal(os_read_file(&f->arena, file(c, "front-proxy-client.key"), 1 << 20, &t.key.key_pem), 0);
    assert_int_equal(tls_client_new(&t, &tls, &e), 0);
    f->http = http_client_new(&(struct http_client_config){.tls = tls});
    tls_client_unref(tls);
    c->clients[c->n_clients++] = f->http;
}

/* The same server with these settings of front proxies. */
static void cluster_restart(struct cluster *c, const struct apiserver_config *proxies)
{
    c->config.front_proxy_names = proxies->front_proxy_names;
    c->config.proxy_user_headers = proxies->proxy_user_headers;
    c->config.proxy_extra_prefixes = proxies->proxy_extra_prefixes;
    c->n_clients--; /* fixture_restart frees the one in use, and makes another */
    fixture_restart(&c->f, &c->config);
    c->clients[c->n_clients++] = c->f.http;
}

static struct reply ask_as(struct cluster *c, const char *token, const char *path)
{
    return ask(&c->f, "GET", path, NULL, arena_printf(&c->f.arena, "Authorization: Bearer %s", token).p);
}

FIBER_TEST(certificates_and_nobody)
{
    struct cluster c;
    cluster_start(&c);
    assert_code(get(&c.f, "/api/v1/nodes"), 200);
    become(&c, "jane", "dev");
    struct reply r = get(&c.f, "/api/v1/namespaces/default/pods");
    assert_code(r, 403);
    assert_at(&c.f, r, "message",
              "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the "
              "namespace \"default\"");
    assert_code(get(&c.f, "/api"), 200); /* discovery is for everybody who is somebody */
    r = ask(&c.f, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", NULL);
    assert_at(&c.f, r, "status.userInfo.username", "jane");
    assert_at(&c.f, r, "status.userInfo.groups.1", "system:authenticated");
    become(&c, NULL, NULL);
    assert_code(get(&c.f, "/healthz"), 200);
    assert_code(get(&c.f, "/version"), 200);
    assert_code(get(&c.f, "/api"), 403);
    assert_code(ask_as(&c, "nonsense", "/version"), 401);
    cluster_stop(&c);
}

FIBER_TEST(roles_grant)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    assert_code(post(f, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
                     "{\"metadata\":{\"name\":\"reader\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":["
                     "\"configmaps\"],"
                     "\"verbs\":[\"get\",\"list\"]}]}"),
                201);
    assert_code(
        post(
            f, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
            "{\"metadata\":{\"name\":\"r\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
            "\"Role\",\"name\":\"reader\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\","
            "\"kind\":"
            "\"Group\",\"name\":\"dev\"}]}"),
        201);
    become(&c, "jane", "dev");
    assert_code(get(f, "/api/v1/namespaces/default/configmaps"), 200);
    assert_code(get(f, "/api/v1/namespaces/kube-system/configmaps"), 403);
    assert_code(post(f, "/api/v1/namespaces/default/configmaps", "{}"), 403);
    struct reply r =
        post(f, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
             "{\"spec\":{\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"configmaps\",\"namespace\":"
             "\"default\"}}}");
    assert_at(f, r, "status.allowed", "true");
    r = post(f, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
             "{\"spec\":{\"namespace\":\"default\"}}");
    assert_code(r, 201);
    assert_true(str_contains(r.text, STR("\"configmaps\"")));
    become(&c, "admin", "system:masters"); /* a binding that goes takes the right with it */
    assert_code(
        ask(f, "DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/r", NULL, NULL),
        200);
    become(&c, "jane", "dev");
    assert_code(get(f, "/api/v1/namespaces/default/configmaps"), 403);
    cluster_stop(&c);
}

FIBER_TEST(nobody_grants_more_than_they_have)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    assert_code(
        post(f, "/apis/rbac.authorization.k8s.io/v1/clusterroles",
             "{\"metadata\":{\"name\":\"maker\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],"
             "\"resources\":[\"clusterroles\",\"clusterrolebindings\"],\"verbs\":[\"create\",\"get\"]}]}"),
        201);
    assert_code(
        post(f, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
             "{\"metadata\":{\"name\":\"maker\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\","
             "\"kind\":"
             "\"ClusterRole\",\"name\":\"maker\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\","
             "\"kind\":\"User\",\"name\":\"jane\"}]}"),
        201);
    become(&c, "jane", "dev");
    struct reply r =
        post(f, "/apis/rbac.authorization.k8s.io/v1/clusterroles",
             "{\"metadata\":{\"name\":\"all\"},\"rules\":[{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],"
             "\"verbs\":[\"*\"]}]}");
    assert_code(r, 403);
    assert_true(str_contains(str_of(at(f, r.v, "message")),
                             STR("attempting to grant RBAC permissions not currently held")));
    assert_code(
        post(f, "/apis/rbac.authorization.k8s.io/v1/clusterroles",
             "{\"metadata\":{\"name\":\"some\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],"
             "\"resources\":[\"clusterroles\"],\"verbs\":[\"get\"]}]}"),
        201);
    r = post(f, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
             "{\"metadata\":{\"name\":\"x\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\","
             "\"kind\":\"ClusterRole\","
             "\"name\":\"cluster-admin\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
             "\"User\","
             "\"name\":\"jane\"}]}");
    assert_code(r, 403);
    cluster_stop(&c);
}

static void make_pod(struct fixture *f)
{
    assert_code(
        post(f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}"), 201);
    assert_code(post(f, "/api/v1/namespaces/default/pods",
                     "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
                     "\"i\",\"envFrom\":["
                     "{\"secretRef\":{\"name\":\"s\"}}]}]}}"),
                201);
    assert_code(post(f, "/api/v1/namespaces/default/pods/p/binding", "{\"target\":{\"name\":\"n1\"}}"), 201);
}

FIBER_TEST(service_account_tokens)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    make_pod(f);
    const char *path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    const char *uid = at(f, get(f, "/api/v1/namespaces/default/pods/p").v, "metadata.uid");
    struct reply r = post(f, path,
                          arena_printf(&f->arena,
                                       "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"name\":\"p\","
                                       "\"uid\":\"%s\"}}}",
                                       uid)
                              .p);
    assert_code(r, 201);
    const char *token = at(f, r.v, "status.token");
    const char *other = at(f, post(f, path, "{\"spec\":{\"audiences\":[\"vault\"]}}").v, "status.token");
    assert_code(post(f, path, "{\"spec\":{\"expirationSeconds\":5}}"), 422);
    assert_code(post(f, path, "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"name\":\"none\"}}}"), 404);
    r = post(f, "/apis/authentication.k8s.io/v1/tokenreviews",
             arena_printf(&f->arena, "{\"spec\":{\"token\":\"%s\"}}", token).p);
    assert_at(f, r, "status.authenticated", "true");
    assert_at(f, r, "status.user.username", "system:serviceaccount:default:default");
    r = post(f, "/apis/authentication.k8s.io/v1/tokenreviews",
             arena_printf(&f->arena, "{\"spec\":{\"token\":\"%s\",\"audiences\":[\"vault\"]}}", other).p);
    assert_at(f, r, "status.authenticated", "true");
    assert_at(f, r, "status.audiences.0", "vault");
    become(&c, NULL, NULL);
    assert_code(ask_as(&c, token, "/api"), 200);
    assert_code(ask_as(&c, token, "/api/v1/nodes"), 403);
    assert_code(ask_as(&c, other, "/api"), 401); /* not for this server */
    char *broken = arena_cstr(&f->arena, str_of(token));
    broken[strlen(broken) / 2] ^= 1;
    assert_code(ask_as(&c, broken, "/api"), 401);
    become(&c, "admin", "system:masters"); /* the token dies with its pod */
    assert_code(ask(f, "DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0", NULL, NULL), 200);
    become(&c, NULL, NULL);
    assert_code(ask_as(&c, token, "/api"), 401);
    cluster_stop(&c);
}

FIBER_TEST(bootstrap_tokens)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    assert_code(
        post(f, "/api/v1/namespaces/kube-system/secrets",
             "{\"metadata\":{\"name\":\"bootstrap-token-abcdef\"},\"type\":\"bootstrap.kubernetes.io/token\","
             "\"stringData\":{\"token-id\":\"abcdef\",\"token-secret\":\"0123456789abcdef\","
             "\"usage-bootstrap-authentication\":\"true\",\"expiration\":\"2200-01-01T00:00:00Z\","
             "\"auth-extra-groups\":\"system:bootstrappers:x\"}}"),
        201);
    become(&c, NULL, NULL);
    assert_code(ask_as(&c, "abcdef.0123456789abcdef", "/api"), 200);
    assert_code(ask_as(&c, "abcdef.0123456789abcdee", "/api"), 401);
    assert_code(ask_as(&c, "abcdeg.0123456789abcdef", "/api"), 401);
    cluster_stop(&c);
}

FIBER_TEST(updating_is_not_creating)
{
    static const char rbac[] = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/";
    static const char lease[] = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    assert_code(post(f, arena_printf(&f->arena, "%sroles", rbac).p,
                     "{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"coordination.k8s.io\"],"
                     "\"resources\":[\"leases\"],\"verbs\":[\"get\",\"update\"]}]}"),
                201);
    assert_code(post(f, arena_printf(&f->arena, "%srolebindings", rbac).p,
                     "{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\","
                     "\"kind\":\"Role\",\"name\":\"r\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"jane\","
                     "\"apiGroup\":\"rbac.authorization.k8s.io\"}]}"),
                201);
    assert_code(post(f, lease, "{\"metadata\":{\"name\":\"there\"}}"), 201);
    become(&c, "jane", "dev");
    assert_code(ask(f, "PUT", arena_printf(&f->arena, "%s/there", lease).p,
                    arena_printf(&f->arena, "{\"metadata\":{\"name\":\"there\",\"resourceVersion\":\"%s\"}}",
                                 at(f, get(f, arena_printf(&f->arena, "%s/there", lease).p).v,
                                    "metadata.resourceVersion"))
                        .p,
                    NULL),
                200);
    assert_code(ask(f, "PUT", arena_printf(&f->arena, "%s/new", lease).p, "{\"metadata\":{\"name\":\"new\"}}", NULL),
                403);
    cluster_stop(&c);
}

FIBER_TEST(impersonation_is_a_right)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    struct reply r = ask(f, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}",
                         "Impersonate-User: bob\nImpersonate-Group: g\nImpersonate-Extra-Scopes: view");
    assert_at(f, r, "status.userInfo.username", "bob");
    assert_at(f, r, "status.userInfo.groups.0", "g");
    assert_at(f, r, "status.userInfo.extra.scopes.0", "view");
    assert_code(ask(f, "GET", "/api/v1/nodes", NULL, "Impersonate-User: bob"), 403);
    assert_code(ask(f, "GET", "/api", NULL, "Impersonate-Group: g"), 400);
    become(&c, "jane", "dev");
    assert_code(ask(f, "GET", "/api", NULL, "Impersonate-User: admin"), 403);
    cluster_stop(&c);
}

FIBER_TEST(the_ingress_controller_sees_what_ingresses_name)
{
    static const char ingress[] = "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"ingressClassName\":\"%s\",\"tls\":[{\"hosts\":[\"a.test\"],"
                                  "\"secretName\":\"%s\"}],\"rules\":[{\"host\":\"%s.test\"}]}}";
    static const char *const secrets[] = {"named", "others", "free"};
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    for (size_t i = 0; i < ARRAY_SIZE(secrets); i++)
        assert_code(post(f, "/api/v1/namespaces/default/secrets", arena_printf(&f->arena, "{\"metadata\":{\"name\":\"%s\"}}", secrets[i]).p), 201);
    assert_code(post(f, "/apis/networking.k8s.io/v1/ingressclasses", "{\"metadata\":{\"name\":\"cube\"},\"spec\":{\"controller\":\"cube.dev/ingress\"}}"), 201);
    assert_code(post(f, "/apis/networking.k8s.io/v1/ingressclasses", "{\"metadata\":{\"name\":\"other\"},\"spec\":{\"controller\":\"other.dev/x\"}}"), 201);
    assert_code(post(f, "/apis/networking.k8s.io/v1/namespaces/default/ingresses", arena_printf(&f->arena, ingress, "i", "cube", "named", "i").p), 201);
    assert_code(post(f, "/apis/networking.k8s.io/v1/namespaces/default/ingresses", arena_printf(&f->arena, ingress, "j", "other", "others", "j").p), 201);
    become(&c, "system:cube-ingress", "x");
    assert_code(get(f, "/api/v1/namespaces/default/secrets/named"), 200);
    assert_code(get(f, "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dnamed"), 200);
    assert_code(get(f, "/api/v1/namespaces/default/secrets/others"), 403); /* of a class that is not its own */
    assert_code(get(f, "/api/v1/namespaces/default/secrets/free"), 403);
    assert_code(get(f, "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dfree"), 403);
    assert_code(get(f, "/api/v1/namespaces/kube-system/secrets/named"), 403);
    assert_code(get(f, "/api/v1/namespaces/default/secrets"), 403);
    assert_code(get(f, "/api/v1/secrets"), 403);
    assert_code(ask(f, "DELETE", "/api/v1/namespaces/default/secrets/named", NULL, NULL), 403);
    become(&c, "jane", "dev");
    assert_code(get(f, "/api/v1/namespaces/default/secrets/named"), 403);
    become(&c, "admin", "system:masters");
    assert_code(ask(f, "DELETE", "/apis/networking.k8s.io/v1/namespaces/default/ingresses/i", NULL, NULL), 200);
    become(&c, "system:cube-ingress", "x");
    assert_code(get(f, "/api/v1/namespaces/default/secrets/named"), 403);
    cluster_stop(&c);
}

FIBER_TEST(kubelets_see_what_their_pods_need)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    assert_code(post(f, "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"s\"}}"), 201);
    assert_code(post(f, "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"t\"}}"), 201);
    make_pod(f);
    become(&c, "system:node:n1", "system:nodes");
    assert_code(get(f, "/api/v1/namespaces/default/secrets/s"), 200);
    assert_code(get(f, "/api/v1/namespaces/default/secrets/t"), 403);
    assert_code(get(f, "/api/v1/namespaces/default/secrets"), 403);
    assert_code(get(f, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1"), 200);
    assert_code(get(f, "/api/v1/pods"), 403);
    assert_code(post(f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\"}}"), 201);
    assert_code(post(f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n2\"}}"), 403);
    /* a pod of a node's own making names nothing that the node would then see, and belongs to the node */
    struct str n1 = arena_str(&f->arena, str_of(at(f, get(f, "/api/v1/nodes/n1").v, "metadata.uid")));
    static const char mirror[] =
        "{\"metadata\":{\"name\":\"m-n1\",\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"},\"ownerReferences\":["
        "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n1\",\"controller\":true,\"uid\":\"%.*s\"}]},"
        "\"spec\":{\"nodeName\":\"n1\",%s\"containers\":[{\"name\":\"c\",\"image\":\"i\"%s}]}}";
    static const struct {
        const char *more, *in_container;
        const char *kind;
    } refused[] = {
        {"", ",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"hidden\",\"key\":\"k\"}}}]", "secrets"},
        {"", ",\"envFrom\":[{\"configMapRef\":{\"name\":\"c\"}}]", "configmaps"},
        {"\"imagePullSecrets\":[{\"name\":\"hidden\"}],", "", "secrets"},
        {"\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"x\"}}],", "", "persistentvolumeclaims"},
        {"\"serviceAccountName\":\"default\",", "", "service accounts"}, /* the ServiceAccount plugin is asked before */
        {"\"resourceClaims\":[{\"name\":\"r\",\"resourceClaimName\":\"gpu\"}],", "", "resourceclaims"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct reply r = post(f, "/api/v1/namespaces/default/pods",
                              arena_printf(&f->arena, mirror, STR_ARG(n1), refused[i].more, refused[i].in_container).p);
        assert_code(r, 403);
        assert_non_null(strstr(at(f, r.v, "message"), refused[i].kind));
    }
    assert_code(post(f, "/api/v1/namespaces/default/pods", arena_printf(&f->arena, mirror, STR_ARG(STR("else")), "", "").p), 403);
    assert_code(post(f, "/api/v1/namespaces/default/pods", arena_printf(&f->arena, mirror, STR_ARG(n1), "", "").p), 201);
    assert_code(get(f, "/api/v1/namespaces/default/secrets/hidden"), 403);
    assert_code(patch(f, "/api/v1/namespaces/default/pods/p/status", "merge-patch+json",
                      "{\"status\":{\"resourceClaimStatuses\":[{\"name\":\"r\",\"resourceClaimName\":\"gpu\"}]}}"), 403);
    /* to pods of other nodes, or of this one with more rights than its own */
    assert_code(post(f, "/api/v1/nodes/n2/proxy/run/default/p/c?cmd=id", "{}"), 403);
    assert_code(ask(f, "PUT", "/api/v1/nodes/n1/proxy/x", "{}", NULL), 403);
    assert_code(patch(f, "/api/v1/nodes/n1", "merge-patch+json",
                      "{\"metadata\":{\"labels\":{\"node-restriction.kubernetes.io/x\":\"y\"}}}"), 403);
    assert_code(patch(f, "/api/v1/nodes/n1", "merge-patch+json", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
                200);
    assert_code(patch(f, "/api/v1/namespaces/default/pods/p/status", "merge-patch+json",
                      "{\"status\":{\"phase\":\"Running\"}}"), 200);
    const char *uid = at(f, get(f, "/api/v1/namespaces/default/pods/p").v, "metadata.uid");
    struct str body = arena_printf(&f->arena,
                                   "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"name\":\"p\",\"uid\":"
                                   "\"%s\"}}}",
                                   uid);
    assert_code(post(f, "/api/v1/namespaces/default/serviceaccounts/default/token", body.p), 201);
    become(&c, "system:node:n2", "system:nodes");
    assert_code(get(f, "/api/v1/namespaces/default/secrets/s"), 403);
    assert_code(post(f, "/api/v1/namespaces/default/serviceaccounts/default/token", body.p), 403);
    assert_code(patch(f, "/api/v1/namespaces/default/pods/p/status", "merge-patch+json",
                      "{\"status\":{\"phase\":\"Failed\"}}"), 403);
    cluster_stop(&c);
}

/* ---- claims of devices --------------------------------------------------------------------------------------- */

#define CLAIMS "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
#define GIVEN "\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d.x\",\"pool\":\"p\",\"device\":\"g\"}]}}"

static void make_claim(struct fixture *f, const char *name, const char *more, int code)
{
    struct str body = arena_printf(&f->arena,
                                   "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"devices\":{\"requests\":[{\"name\":\"r\",\"exactly\":{"
                                   "\"deviceClassName\":\"c\"%s}}]}}}", name, more);
    assert_code(post(f, CLAIMS, body.p), code);
}

FIBER_TEST(selectors_of_devices_are_compiled)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    static const char class_[] = "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"selectors\":[{\"cel\":{\"expression\":\"%s\"}}]}}";
    static const char classes[] = "/apis/resource.k8s.io/v1/deviceclasses";
    assert_code(post(f, classes, arena_printf(&f->arena, class_, "a", "device.driver == 'x'").p), 201);
    struct reply r = post(f, classes, arena_printf(&f->arena, class_, "b", "device.nonsense").p);
    assert_code(r, 422);
    assert_at(f, r, "details.causes.0.field", "spec.selectors[0].cel.expression");
    assert_code(patch(f, "/apis/resource.k8s.io/v1/deviceclasses/a", "merge-patch+json",
                      "{\"spec\":{\"selectors\":[{\"cel\":{\"expression\":\"1 + 1\"}}]}}"), 422);
    make_claim(f, "x", ",\"selectors\":[{\"cel\":{\"expression\":\"device.capacity['d'].m\"}}]", 422);
    make_claim(f, "x", ",\"selectors\":[{\"cel\":{\"expression\":\"device.capacity['d'].m.isGreaterThan(quantity('1'))\"}}]", 201);
    cluster_stop(&c);
}

FIBER_TEST(admin_access_is_the_namespaces)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    make_claim(f, "a", ",\"adminAccess\":true", 422);
    assert_code(patch(f, "/api/v1/namespaces/default", "merge-patch+json",
                      "{\"metadata\":{\"labels\":{\"resource.kubernetes.io/admin-access\":\"true\"}}}"), 200);
    make_claim(f, "a", ",\"adminAccess\":true", 201);
    cluster_stop(&c);
}

FIBER_TEST(kubelets_have_their_own_slices)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    static const char slices[] = "/apis/resource.k8s.io/v1/resourceslices";
    static const char slice[] = "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"driver\":\"d.x\",\"pool\":{\"name\":\"p\",\"resourceSliceCount\":1},"
                                "\"nodeName\":\"%s\",\"devices\":[{\"name\":\"g\",\"taints\":[{\"key\":\"k\",\"effect\":\"NoExecute\"}]}]}}";
    assert_code(post(f, slices, arena_printf(&f->arena, slice, "b", "n2").p), 201);
    assert_non_null(val_get(val_item(val_get(val_item(val_at(get(f, "/apis/resource.k8s.io/v1/resourceslices/b").v, N_spec, N_devices), 0), N_taints), 0),
                            N_timeAdded)); /* a taint is there since now */
    become(&c, "system:node:n1", "system:nodes");
    assert_code(post(f, slices, arena_printf(&f->arena, slice, "a", "n2").p), 403);
    assert_code(post(f, slices, arena_printf(&f->arena, slice, "a", "n1").p), 201);
    assert_code(get(f, slices), 403);
    assert_code(get(f, "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3Dn1"), 200);
    assert_code(ask(f, "DELETE", "/apis/resource.k8s.io/v1/resourceslices/b", NULL, NULL), 403);
    assert_code(ask(f, "DELETE", "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3Dn2", NULL, NULL), 403);
    assert_code(ask(f, "DELETE", "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3Dn1,spec.driver%3Dd.x", NULL, NULL), 200);
    assert_code(get(f, "/apis/resource.k8s.io/v1/resourceslices/a"), 403); /* gone: whose it was is not known */
    cluster_stop(&c);
}

/* Status alone is not enough: devices are given by who may bind, told of by who may for their driver. */
FIBER_TEST(parts_of_a_claims_status_have_their_own_rights)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    static const char role[] =
        "{\"metadata\":{\"name\":\"%s\"},\"rules\":[{\"apiGroups\":[\"resource.k8s.io\"],\"resources\":[\"%s\"],\"verbs\":[\"%s\"]%s}]}";
    static const char binding[] = "{\"metadata\":{\"name\":\"%s\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
                                  "\"ClusterRole\",\"name\":\"%s\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
                                  "\"User\",\"name\":\"%s\"}]}";
    static const struct {
        const char *name, *resource, *verb, *more;
    } grants[] = {{"write", "resourceclaims/status", "patch", ""},
                  {"bind", "resourceclaims/binding", "patch", ""},
                  {"drive", "resourceclaims/driver", "arbitrary-node:patch", ",\"resourceNames\":[\"d.x\"]"}};
    static const struct {
        const char *user, *role;
    } has[] = {{"weak", "write"}, {"binder", "write"}, {"binder", "bind"}, {"driver", "write"}, {"driver", "drive"}};
    for (size_t i = 0; i < ARRAY_SIZE(grants); i++)
        assert_code(post(f, "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                         arena_printf(&f->arena, role, grants[i].name, grants[i].resource, grants[i].verb, grants[i].more).p), 201);
    for (size_t i = 0; i < ARRAY_SIZE(has); i++)
        assert_code(post(f, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
                         arena_printf(&f->arena, binding, arena_printf(&f->arena, "b%zu", i).p, has[i].role, has[i].user).p), 201);
    make_claim(f, "x", "", 201);
    become(&c, "weak", "g");
    assert_code(patch(f, CLAIMS "/x/status", "merge-patch+json", "{\"status\":{" GIVEN "}}"), 422);
    become(&c, "binder", "g");
    assert_code(patch(f, CLAIMS "/x/status", "merge-patch+json", "{\"status\":{" GIVEN "}}"), 200);
    static const char told[] = "{\"status\":{\"devices\":[{\"driver\":\"d.x\",\"pool\":\"p\",\"device\":\"g\"}]}}";
    assert_code(patch(f, CLAIMS "/x/status", "merge-patch+json", told), 422);
    become(&c, "driver", "g");
    assert_code(patch(f, CLAIMS "/x/status", "merge-patch+json", told), 200);
    become(&c, "binder", "g");
    struct reply r = patch(f, CLAIMS "/x/status", "merge-patch+json", "{\"status\":{\"allocation\":null}}");
    assert_code(r, 200);
    assert_null(val_at(r.v, N_status, N_devices)); /* it goes with the devices */
    cluster_stop(&c);
}

/* ---- certificates of Pods ---------------------------------------------------------------------------------- */

#define REQUESTS "/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests"

static struct str base64_of(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, base64_size(s.n) + 1);
    base64_encode(s, p);
    p[base64_size(s.n)] = 0;
    return str_of(p);
}

/* Who asks, with which identities. */
struct asked {
    const char *pod_uid, *account_uid, *node_uid, *node, *signer, *account, *request;
};

static struct str request_text(struct fixture *f, const struct asked *q)
{
    return arena_printf(&f->arena,
                        "{\"metadata\":{\"generateName\":\"req-\"},\"spec\":{\"signerName\":\"%s\",\"podName\":\"p\",\"podUID\":\"%s\","
                        "\"serviceAccountName\":\"%s\",\"serviceAccountUID\":\"%s\",\"nodeName\":\"%s\",\"nodeUID\":\"%s\",\"stubPKCS10Request\":\"%s\"}}",
                        q->signer, q->pod_uid, q->account, q->account_uid, q->node, q->node_uid, q->request);
}

static const char *chain_for(struct fixture *f, struct x509_key *key, struct wall from, struct wall to)
{
    struct x509_key *ca_key;
    struct x509_cert *ca, *leaf;
    struct buf pem CLEANUP_BUF = BUF_INIT;
    struct err e = {{0}};
    struct x509_spec spec = {.names = {.cn = "ca"}, .is_ca = true, .not_before = {from.ns - SECONDS(60)}, .not_after = {to.ns + SECONDS(60)}};
    assert_int_equal(x509_key_generate(&ca_key), 0);
    assert_int_equal(x509_issue(&spec, ca_key, NULL, NULL, &ca, &e), 0);
    spec = (struct x509_spec){.names = {.cn = "p"}, .not_before = from, .not_after = to};
    assert_int_equal(x509_issue(&spec, key, ca, ca_key, &leaf, &e), 0);
    x509_cert_pem(leaf, &pem);
    x509_cert_unref(ca);
    x509_cert_unref(leaf);
    x509_key_unref(ca_key);
    struct buf json CLEANUP_BUF = BUF_INIT;
    json_encode_str(&json, buf_str(&pem), 0);
    return arena_str(&f->arena, buf_str(&json)).p;
}

static struct reply issue(struct fixture *f, const char *name, const char *chain, struct wall from, struct wall to, struct wall refresh)
{
    char a[TIME_TEXT_MAX], b[TIME_TEXT_MAX], c[TIME_TEXT_MAX];
    return patch(f, arena_printf(&f->arena, REQUESTS "/%s/status", name).p, "merge-patch+json",
                 arena_printf(&f->arena, "{\"status\":{\"certificateChain\":%s,\"notBefore\":\"%s\",\"notAfter\":\"%s\",\"beginRefreshAt\":\"%s\",\"conditions\":["
                                         "{\"type\":\"Issued\",\"status\":\"True\",\"reason\":\"Ok\",\"lastTransitionTime\":\"%s\"}]}}", chain,
                              time_format(from, a), time_format(to, b), time_format(refresh, c), a).p);
}

static void test_nodes_ask(struct cluster *c, const struct asked *good)
{
    struct fixture *f = &c->f;
    struct asked bad[9];
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        bad[i] = *good;
    bad[0].node = "n2";
    bad[1].node_uid = "else";
    bad[2].pod_uid = "else";
    bad[3].account_uid = "else";
    bad[4].account = "other";
    bad[5].signer = "other.org/s";
    bad[6].request = "AAAA";
    bad[7].signer = "nobody";
    bad[8].request = "";
    static const int codes[] = {403, 500, 500, 500, 403, 403, 422, 422, 422};
    become(c, "system:node:n1", "system:nodes");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct reply r = post(f, REQUESTS, request_text(f, &bad[i]).p);
        if (r.code != codes[i])
            fail_msg("case %zu: %d " STR_FMT, i, r.code, STR_ARG(r.text));
    }
    assert_code(post(f, REQUESTS, request_text(f, good).p), 201);
    assert_code(get(f, "/apis/certificates.k8s.io/v1/podcertificaterequests"), 403);
    assert_code(get(f, "/apis/certificates.k8s.io/v1/podcertificaterequests?fieldSelector=spec.nodeName%3Dn1"), 200);
    become(c, "system:node:n2", "system:nodes");
    assert_code(post(f, REQUESTS, request_text(f, good).p), 403);
    assert_code(get(f, "/apis/certificates.k8s.io/v1/podcertificaterequests?fieldSelector=spec.nodeName%3Dn1"), 403);
}

static void test_signers_answer(struct cluster *c, const char *name, struct x509_key *key)
{
    struct fixture *f = &c->f;
    struct wall from = {os_wall().ns / NSEC_PER_SEC * NSEC_PER_SEC}, to = {from.ns + SECONDS(7200)}, late = {from.ns + SECONDS(3600)};
    struct wall early = {from.ns + SECONDS(60)}, long_ago = {from.ns - SECONDS(3600)}, too_late = {from.ns + SECONDS(100000)}, soon = {from.ns + SECONDS(1800)};
    struct x509_key *other;
    const char *path = arena_printf(&f->arena, REQUESTS "/%s/status", name).p, *chain = chain_for(f, key, from, to);
    assert_int_equal(x509_key_generate(&other), 0);
    become(c, "system:node:n1", "system:nodes");
    assert_code(issue(f, name, chain, from, to, late), 403);
    become(c, "jane", "dev");
    assert_code(issue(f, name, chain, from, to, late), 403);
    become(c, "admin", "system:masters");
    assert_code(post(f, "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                     "{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"certificates.k8s.io\"],\"resources\":[\"podcertificaterequests/status\"],"
                     "\"verbs\":[\"patch\"]}]}"), 201);
    assert_code(post(f, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
                     "{\"metadata\":{\"name\":\"r\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"r\"},"
                     "\"subjects\":[{\"kind\":\"User\",\"name\":\"jane\",\"apiGroup\":\"rbac.authorization.k8s.io\"}]}"), 201);
    become(c, "jane", "dev"); /* may write statuses, not sign for this signer */
    struct reply r = issue(f, name, chain, from, to, late);
    assert_code(r, 422);
    assert_non_null(strstr(at(f, r.v, "message"), "is not permitted to \"sign\""));
    become(c, "admin", "system:masters");
    static const char text[] = "\"words\"";
    assert_code(issue(f, name, text, from, to, late), 422);
    assert_code(issue(f, name, chain_for(f, other, from, to), from, to, late), 422);
    assert_code(issue(f, name, chain, from, late, late), 422);  /* not the certificate's end */
    assert_code(issue(f, name, chain, from, to, early), 422);   /* to be renewed at once */
    assert_code(issue(f, name, chain, from, to, to), 422);      /* or when it has expired */
    assert_code(issue(f, name, chain_for(f, key, long_ago, to), long_ago, to, late), 422);
    assert_code(issue(f, name, chain_for(f, key, from, too_late), from, too_late, late), 422); /* longer than was asked for */
    assert_code(issue(f, name, chain_for(f, key, from, soon), from, soon, soon), 422);         /* less than an hour */
    assert_code(patch(f, path, "merge-patch+json", "{\"status\":{\"certificateChain\":\"x\"}}"), 422);
    assert_code(patch(f, path, "merge-patch+json",
                      "{\"status\":{\"conditions\":[{\"type\":\"Odd\",\"status\":\"True\",\"reason\":\"x\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}"), 422);
    assert_code(patch(f, path, "merge-patch+json", "{\"status\":{\"certificateChain\":\"x\",\"conditions\":[{\"type\":\"Denied\",\"status\":\"True\","
                      "\"reason\":\"x\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}"), 422);
    assert_code(issue(f, name, chain, from, to, late), 200);
    assert_code(issue(f, name, chain, from, to, late), 200); /* the same again changes nothing */
    assert_code(patch(f, path, "merge-patch+json", "{\"status\":{\"conditions\":[]}}"), 422);
    assert_code(patch(f, arena_printf(&f->arena, REQUESTS "/%s", name).p, "merge-patch+json", "{\"spec\":{\"nodeName\":\"n2\"}}"), 422);
    x509_key_unref(other);
}

FIBER_TEST(pods_get_certificates)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    struct x509_key *key;
    struct buf der CLEANUP_BUF = BUF_INIT;
    assert_int_equal(x509_key_make(X509_ED25519, &key, NULL), 0);
    assert_int_equal(x509_csr_make_der(&(const struct x509_names){.cn = NULL}, key, &der, NULL), 0);
    assert_code(post(f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}"), 201);
    assert_code(post(f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\"}}"), 201);
    assert_code(post(f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n2\"}}"), 201);
    assert_code(post(f, "/api/v1/namespaces/default/pods",
                     "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"volumes\":[{\"name\":\"v\","
                     "\"projected\":{\"sources\":[{\"podCertificate\":{\"signerName\":\"e.org/s\",\"keyType\":\"ED25519\",\"keyPath\":\"k\"}}]}}]}}"), 201);
    struct asked good = {.node = "n1", .signer = "e.org/s", .account = "default", .request = base64_of(&f->arena, buf_str(&der)).p};
    good.pod_uid = arena_str(&f->arena, str_of(at(f, get(f, "/api/v1/namespaces/default/pods/p").v, "metadata.uid"))).p;
    good.account_uid = arena_str(&f->arena, str_of(at(f, get(f, "/api/v1/namespaces/default/serviceaccounts/default").v, "metadata.uid"))).p;
    good.node_uid = arena_str(&f->arena, str_of(at(f, get(f, "/api/v1/nodes/n1").v, "metadata.uid"))).p;
    test_nodes_ask(&c, &good);
    become(&c, "admin", "system:masters");
    struct reply r = get(f, REQUESTS);
    assert_at(f, r, "items.0.spec.maxExpirationSeconds", "86400");
    test_signers_answer(&c, arena_str(&f->arena, str_of(at(f, r.v, "items.0.metadata.name"))).p, key);
    x509_key_unref(key);
    cluster_stop(&c);
}

/* Directories of the node that are volumes (docs/storage.md), and secrets that a CSI volume names for its driver. */
FIBER_TEST(nodes_have_their_volumes)
{
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    become(&c, "root", "system:masters");
    assert_code(post(f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}"), 201);
    assert_code(post(f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\"}}"), 201);
    assert_code(post(f, "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"stage\"}}"), 201);
    assert_code(post(f, "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"attach\"}}"), 201);
    assert_code(post(f, "/api/v1/persistentvolumes",
                     "{\"metadata\":{\"name\":\"dir\",\"finalizers\":[\"cube.local/local-path\",\"x.example/y\"],\"labels\":{\"cube.local/node\":"
                     "\"n1\"},\"annotations\":{\"cube.local/provisioned-by\":\"n1\"}},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},"
                     "\"accessModes\":[\"ReadWriteOnce\"],\"hostPath\":{\"path\":\"/d\"}}}"), 201);
    assert_code(post(f, "/api/v1/persistentvolumes",
                     "{\"metadata\":{\"name\":\"other\",\"finalizers\":[\"cube.local/local-path\"]},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},"
                     "\"accessModes\":[\"ReadWriteOnce\"],\"claimRef\":{\"namespace\":\"default\",\"name\":\"data\"},\"csi\":{\"driver\":\"d\","
                     "\"volumeHandle\":\"h\",\"nodeStageSecretRef\":{\"name\":\"stage\",\"namespace\":\"default\"},"
                     "\"controllerPublishSecretRef\":{\"name\":\"attach\",\"namespace\":\"default\"}}}}"), 201);
    assert_code(post(f, "/api/v1/namespaces/default/pods",
                     "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}],\"volumes\":"
                     "[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"data\"}}]}}"), 201);
    become(&c, "system:node:n1", "system:nodes");
    assert_code(get(f, "/api/v1/persistentvolumes"), 403);
    assert_code(get(f, "/api/v1/persistentvolumes?labelSelector=cube.local/node%3Dn2"), 403);
    assert_code(get(f, "/api/v1/persistentvolumes?labelSelector=cube.local/node%3Dn1"), 200);
    assert_code(get(f, "/api/v1/persistentvolumes/other"), 200);
    assert_code(get(f, "/api/v1/namespaces/default/secrets/stage"), 200);
    assert_code(get(f, "/api/v1/namespaces/default/secrets/attach"), 403);
    assert_code(patch(f, "/api/v1/persistentvolumes/other", "merge-patch+json", "{\"metadata\":{\"finalizers\":[]}}"), 403);
    assert_code(patch(f, "/api/v1/persistentvolumes/dir", "merge-patch+json", "{\"metadata\":{\"finalizers\":[]}}"), 403);
    assert_code(patch(f, "/api/v1/persistentvolumes/dir", "merge-patch+json",
                      "{\"metadata\":{\"finalizers\":[\"x.example/y\"],\"labels\":null}}"), 403);
    assert_code(patch(f, "/api/v1/persistentvolumes/dir", "merge-patch+json", "{\"spec\":{\"capacity\":{\"storage\":\"2Gi\"}}}"), 403);
    assert_code(patch(f, "/api/v1/persistentvolumes/dir", "merge-patch+json", 
                      "{\"metadata\":{\"finalizers\":[\"x.example/y\",\"kubernetes.io/pv-protection\"]}}"), 200);
    cluster_stop(&c);
}

FIBER_TEST(keys_are_published)
{
    struct cluster c;
    cluster_start(&c);
    struct reply r = get(&c.f, "/openid/v1/jwks");
    assert_at(&c.f, r, "keys.0.use", "sig");
    r = get(&c.f, "/.well-known/openid-configuration");
    assert_at(&c.f, r, "issuer", "https://kubernetes.default.svc.cluster.local");
    cluster_stop(&c);
}

/* What a front proxy says of whom it speaks for is believed of nobody else. */
FIBER_TEST(front_proxies_speak_for_others)
{
    static const char headers[] = "X-Remote-User: jane\nX-Remote-Group: dev\nX-Remote-Uid: 7\nX-Remote-Extra-Example.com%2fx: 1\nX-Who: bob\nX-Its-A: 2";
    struct cluster c;
    cluster_start(&c);
    struct fixture *f = &c.f;
    const char *path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    struct reply r = ask(f, "POST", path, "{}", headers); /* of the clients' authority: itself */
    assert_at(f, r, "status.userInfo.username", "admin");
    become(&c, NULL, NULL);
    assert_code(ask(f, "POST", path, "{}", headers), 403);
    become_proxy(&c);
    r = ask(f, "POST", path, "{}", headers);
    assert_at(f, r, "status.userInfo.username", "jane");
    assert_at(f, r, "status.userInfo.uid", "7");
    assert_at(f, r, "status.userInfo.groups.0", "dev");
    assert_true(str_contains(r.text, STR("\"example.com/x\":[\"1\"]")));
    cluster_restart(&c, &(struct apiserver_config){.front_proxy_names = "somebody-else"});
    become_proxy(&c);
    assert_code(ask(f, "POST", path, "{}", headers), 401); /* not by that name, and no client's certificate */
    cluster_restart(&c, &(struct apiserver_config){.proxy_user_headers = "X-None,X-Who", .proxy_extra_prefixes = "X-Its-"});
    become_proxy(&c);
    r = ask(f, "POST", path, "{}", headers);
    assert_at(f, r, "status.userInfo.username", "bob");
    assert_true(str_contains(r.text, STR("\"a\":[\"2\"]")));
    cluster_stop(&c);
}

/* Audit 2022 (kubernetes#118980): one authority for clients and front proxies, where every client could then be anybody. */
FIBER_TEST(one_authority_for_clients_and_proxies_is_refused)
{
    struct cluster c;
    struct err e = {0};
    struct apiserver *s = NULL;
    cluster_start(&c);
    struct apiserver_config config = c.config;
    config.store = c.f.store;
    config.front_proxy_ca = config.client_ca;
    assert_int_equal(apiserver_start(&config, &s, &e), -EINVAL);
    assert_non_null(strstr(e.text, "overlapping certificates"));
    cluster_stop(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_and_nobody),
        cmocka_unit_test(roles_grant),
        cmocka_unit_test(nobody_grants_more_than_they_have),
        cmocka_unit_test(service_account_tokens),
        cmocka_unit_test(bootstrap_tokens),
        cmocka_unit_test(updating_is_not_creating),
        cmocka_unit_test(impersonation_is_a_right),
        cmocka_unit_test(the_ingress_controller_sees_what_ingresses_name),
        cmocka_unit_test(kubelets_see_what_their_pods_need),
        cmocka_unit_test(admin_access_is_the_namespaces),
        cmocka_unit_test(kubelets_have_their_own_slices),
        cmocka_unit_test(selectors_of_devices_are_compiled),
        cmocka_unit_test(parts_of_a_claims_status_have_their_own_rights),
        cmocka_unit_test(nodes_have_their_volumes), cmocka_unit_test(pods_get_certificates),
        cmocka_unit_test(keys_are_published),
        cmocka_unit_test(front_proxies_speak_for_others),
        cmocka_unit_test(one_authority_for_clients_and_proxies_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
