// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const hookPort = 19443 - 1000

var widgetKind = schema.GroupVersionKind{Group: "peer.test", Version: "v1", Kind: "Widget"}

func widget(name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(widgetKind)
	u.SetNamespace("default")
	u.SetName(name)
	return u
}

type reconciler struct{ client.Client }

// Reconcile keeps a ConfigMap for each Widget, its status, and a finalizer that leaves a note behind.
func (r reconciler) Reconcile(ctx context.Context, q ctrl.Request) (ctrl.Result, error) {
	w := widget(q.Name)
	if err := r.Get(ctx, q.NamespacedName, w); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if w.GetDeletionTimestamp() != nil {
		note := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: q.Name + "-was-here", Namespace: q.Namespace}}
		if err := r.Create(ctx, note); err != nil && !apierrors.IsAlreadyExists(err) {
			return ctrl.Result{}, err
		}
		if controllerutil.RemoveFinalizer(w, "peer.test/note") {
			return ctrl.Result{}, client.IgnoreNotFound(r.Update(ctx, w))
		}
		return ctrl.Result{}, nil
	}
	if controllerutil.AddFinalizer(w, "peer.test/note") {
		return ctrl.Result{}, r.Update(ctx, w)
	}
	size, _, _ := unstructured.NestedInt64(w.Object, "spec", "size")
	made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: q.Name, Namespace: q.Namespace}}
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, made, func() error {
		made.Data = map[string]string{"size": fmt.Sprint(size)}
		return controllerutil.SetControllerReference(w, made, r.Scheme())
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	base := w.DeepCopy()
	_ = unstructured.SetNestedField(w.Object, size, "status", "seen")
	return ctrl.Result{}, client.IgnoreNotFound(r.Status().Patch(ctx, w, client.MergeFrom(base)))
}

func certificates(dir string) []byte {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hooks"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, _ := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(key)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = os.WriteFile(filepath.Join(dir, "tls.crt"), cert, 0o600)
	_ = os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
	return cert
}

func defaulter(_ context.Context, q admission.Request) admission.Response {
	w := &unstructured.Unstructured{}
	if err := json.Unmarshal(q.Object.Raw, w); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if _, there, _ := unstructured.NestedFieldNoCopy(w.Object, "spec", "colour"); !there {
		_ = unstructured.SetNestedField(w.Object, "red", "spec", "colour")
	}
	now, _ := json.Marshal(w)
	return admission.PatchResponseFromRaw(q.Object.Raw, now)
}

func validator(_ context.Context, q admission.Request) admission.Response {
	if strings.Contains(string(q.Object.Raw), `"colour":"green"`) {
		return admission.Denied("green is taken")
	}
	return admission.Allowed("").WithWarnings("widgets are a test")
}

func hooks(ca []byte) (*admissionregistrationv1.MutatingWebhookConfiguration, *admissionregistrationv1.ValidatingWebhookConfiguration) {
	rule := []admissionregistrationv1.RuleWithOperations{{Operations: []admissionregistrationv1.OperationType{"CREATE", "UPDATE"},
		Rule: admissionregistrationv1.Rule{APIGroups: []string{"peer.test"}, APIVersions: []string{"v1"}, Resources: []string{"widgets"}}}}
	none := admissionregistrationv1.SideEffectClassNone
	at := func(path string) admissionregistrationv1.WebhookClientConfig {
		url := fmt.Sprintf("https://127.0.0.1:%d%s", hookPort, path)
		return admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: ca}
	}
	return &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "widgets"}, Webhooks: []admissionregistrationv1.MutatingWebhook{
			{Name: "default.peer.test", ClientConfig: at("/default"), Rules: rule, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}}},
		&admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "widgets"}, Webhooks: []admissionregistrationv1.ValidatingWebhook{
			{Name: "check.peer.test", ClientConfig: at("/check"), Rules: rule, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}}}
}

// managed: a controller-runtime manager with its cache, leader election, a controller of a custom kind and two webhooks.
func managed(config *rest.Config) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log.SetLogger(zap.New(zap.UseDevMode(true)))
	dir, _ := os.MkdirTemp("", "hooks")
	defer os.RemoveAll(dir)
	ca := certificates(dir)
	m, err := ctrl.NewManager(config, ctrl.Options{Metrics: server.Options{BindAddress: "0"}, LeaderElection: true, LeaderElectionID: "widgets.peer.test",
		LeaderElectionNamespace: "default", WebhookServer: webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: hookPort, CertDir: dir})})
	if err != nil {
		check("manager: made", false, err)
		return
	}
	err = ctrl.NewControllerManagedBy(m).For(widget("")).Owns(&corev1.ConfigMap{}).Complete(reconciler{m.GetClient()})
	check("manager: a controller", err == nil, err)
	err = m.GetFieldIndexer().IndexField(ctx, &corev1.ConfigMap{}, "data.size", func(o client.Object) []string { return []string{o.(*corev1.ConfigMap).Data["size"]} })
	check("manager: an index", err == nil, err)
	m.GetWebhookServer().Register("/default", &webhook.Admission{Handler: admission.HandlerFunc(defaulter)})
	m.GetWebhookServer().Register("/check", &webhook.Admission{Handler: admission.HandlerFunc(validator)})
	go func() { _ = m.Start(ctx) }()
	select {
	case <-m.Elected():
		check("manager: elected", true)
	case <-time.After(30 * time.Second):
		check("manager: elected", false)
		return
	}
	c := m.GetClient()
	mutating, validating := hooks(ca)
	check("manager: webhooks configured", c.Create(ctx, mutating) == nil && c.Create(ctx, validating) == nil)
	one := widget("one")
	_ = unstructured.SetNestedField(one.Object, int64(3), "spec", "size")
	hooked := until(20*time.Second, func() bool { // the configuration takes its time to be known
		err = c.Create(ctx, one)
		colour, _, _ := unstructured.NestedString(one.Object, "spec", "colour")
		if err == nil && colour != "red" {
			_ = c.Delete(ctx, one)
			one.SetResourceVersion("")
			time.Sleep(300 * time.Millisecond)
			return false
		}
		return err == nil
	})
	check("webhook: the default is set", hooked, err, one.Object)
	green := widget("green")
	_ = unstructured.SetNestedField(green.Object, "green", "spec", "colour")
	err = c.Create(ctx, green)
	check("webhook: what is refused", err != nil && strings.Contains(err.Error(), "green is taken") && apierrors.IsForbidden(err), err)
	key := client.ObjectKeyFromObject(one)
	made := &corev1.ConfigMap{}
	check("controller: its ConfigMap is made", until(20*time.Second, func() bool { return c.Get(ctx, key, made) == nil && made.Data["size"] == "3" }), made)
	seen := func(n int64) func() bool {
		return func() bool {
			w := widget("one")
			s := int64(-1)
			if c.Get(ctx, key, w) == nil {
				s, _, _ = unstructured.NestedInt64(w.Object, "status", "seen")
			}
			return s == n
		}
	}
	check("controller: the status is told", until(10*time.Second, seen(3)))
	base := widget("one")
	_ = c.Get(ctx, key, base)
	changed := base.DeepCopy()
	_ = unstructured.SetNestedField(changed.Object, int64(5), "spec", "size")
	check("client: a merge patch with its version", c.Patch(ctx, changed, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})) == nil)
	check("controller: follows", until(10*time.Second, seen(5)))
	stale := base.DeepCopy()
	stale.SetLabels(map[string]string{"x": "y"})
	check("client: an old version is a conflict", apierrors.IsConflict(c.Update(ctx, stale)))
	check("controller: what it made and is taken away comes again", c.Delete(ctx, made) == nil && until(10*time.Second, func() bool {
		again := &corev1.ConfigMap{}
		return c.Get(ctx, key, again) == nil && again.UID != made.UID
	}))
	list := &corev1.ConfigMapList{}
	check("cache: by the index", until(5*time.Second, func() bool { return c.List(ctx, list, client.MatchingFields{"data.size": "5"}) == nil && len(list.Items) == 1 }), len(list.Items))
	applied := widget("two")
	_ = unstructured.SetNestedField(applied.Object, int64(1), "spec", "size")
	err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("peer"))
	check("client: server-side apply of a custom kind", err == nil, err)
	_ = c.Get(ctx, key, one)
	check("controller: the finalizer holds, then lets go", c.Delete(ctx, one) == nil && until(10*time.Second, func() bool { return apierrors.IsNotFound(c.Get(ctx, key, widget("one"))) }))
	check("controller: and left its note", c.Get(ctx, client.ObjectKey{Namespace: "default", Name: "one-was-here"}, &corev1.ConfigMap{}) == nil)
	check("garbage: what it owned goes", until(30*time.Second, func() bool { return apierrors.IsNotFound(c.Get(ctx, key, &corev1.ConfigMap{})) }))
	_ = c.Delete(ctx, mutating)
	_ = c.Delete(ctx, validating)
}
