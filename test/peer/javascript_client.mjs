// SPDX-License-Identifier: Apache-2.0
// The JavaScript client at an API server: calls, patches, informer, watch, objects by their kind, errors.
import * as k8s from '@kubernetes/client-node';

const check = (name, good, seen = '') => console.log(good ? `ok ${name}` : `FAILED ${name} ${JSON.stringify(seen)?.slice(0, 300)}`);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const until = async (fn, ms = 10000) => {
    for (const end = Date.now() + ms; Date.now() < end; await sleep(50)) if (await fn()) return true;
    return false;
};
const code = async (promise) => { try { await promise; return 200; } catch (e) { return e.code ?? e.statusCode ?? String(e); } };

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api), apps = config.makeApiClient(k8s.AppsV1Api), any = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = 'default';

check('version', (await config.makeApiClient(k8s.VersionApi).getCode()).gitVersion.startsWith('v1.37'));
const made = await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'js', labels: { l: 'js' } }, data: { a: 'b' } } });
check('create', made.metadata.uid && made.metadata.creationTimestamp instanceof Date);
check('create twice: 409', (await code(core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'js' } } }))) === 409);
check('absent: 404', (await code(core.readNamespacedConfigMap({ namespace, name: 'absent' }))) === 404);
check('nonsense: 422', (await code(core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'No_Name' } } }))) === 422);
const patch = await core.patchNamespacedConfigMap({ namespace, name: 'js', body: [{ op: 'add', path: '/data/c', value: 'd' }] });
check('patch', patch.data.c === 'd' && patch.data.a === 'b', patch);
const merged = await core.patchNamespacedConfigMap({ namespace, name: 'js', body: { data: { a: null } } }, k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch));
check('merge patch', merged.data.a === undefined && merged.data.c === 'd', merged);

// An informer, and what it is told.
const told = { add: 0, update: 0, delete: 0 };
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () => core.listNamespacedConfigMap({ namespace, labelSelector: 'l=js' }), 'l=js');
for (const event of Object.keys(told)) informer.on(event, () => { told[event]++; });
let broke = '';
informer.on('error', (e) => { broke = String(e); });
await informer.start();
check('informer: what is there', await until(() => told.add === 1), told);
for (let i = 0; i < 10; i++) await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: `js-${i}`, labels: { l: 'js' } } } });
check('informer: what comes', await until(() => told.add === 11), told);
await core.patchNamespacedConfigMap({ namespace, name: 'js-3', body: [{ op: 'add', path: '/data', value: { x: 'y' } }] });
check('informer: what changes', await until(() => told.update >= 1), told);
await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'l=js' });
check('informer: what goes', await until(() => told.delete === 11), told);
check('informer: its copy', informer.list(namespace).length === 0 && broke === '', broke);
await informer.stop();

// A watch by hand, ended by us.
const events = [];
const request = await new k8s.Watch(config).watch(`/api/v1/namespaces/${namespace}/secrets`, { allowWatchBookmarks: true }, (type, o) => events.push(`${type} ${o.metadata.name}`), () => {});
await core.createNamespacedSecret({ namespace, body: { metadata: { name: 'w' }, stringData: { a: 'b' } } });
check('watch', await until(() => events.includes('ADDED w')), events);
request.abort();

// Objects by what they say they are.
const object = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'js', namespace }, spec: { selector: { matchLabels: { a: 'js' } }, template: { metadata: { labels: { a: 'js' } }, spec: { containers: [{ name: 'c', image: 'x' }] } } } };
const created = await any.create(object);
check('by kind: create', created.spec.replicas === 1);
check('by kind: replace', await until(async () => { // the controller writes, too
    const now = await any.read(object);
    now.spec.replicas = 2;
    try { return (await any.replace(now)).spec.replicas === 2; } catch (e) { if (e.code !== 409) throw e; return false; }
}));
const applied = await any.patch({ ...object, spec: { ...object.spec, replicas: 3 } }, undefined, undefined, 'js', true, k8s.PatchStrategy.ServerSideApply);
check('by kind: apply', applied.spec.replicas === 3 && applied.metadata.managedFields.some((m) => m.operation === 'Apply'));
check('by kind: list', (await any.list('apps/v1', 'Deployment', namespace)).items.length === 1);
const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'js' });
check('scale', scale.spec.replicas === 3);
await any.delete(object);
check('by kind: delete', (await code(any.read(object))) === 404);
const review = await config.makeApiClient(k8s.AuthorizationV1Api).createSelfSubjectAccessReview({ body: { spec: { resourceAttributes: { verb: 'list', resource: 'pods' } } } });
check('access review', review.status.allowed);
process.exit(0);
