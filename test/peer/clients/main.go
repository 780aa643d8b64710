// SPDX-License-Identifier: Apache-2.0

// Command clients does at an API server what operators do: informers that outlive the server's restart, leader election, and a
// manager with a controller for a custom kind and admission webhooks. Each prints what it checked, "ok ..." or "FAILED ...".
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

var failed bool

func check(name string, good bool, seen ...any) {
	if good {
		fmt.Println("ok", name)
		return
	}
	failed = true
	fmt.Println("FAILED", name, fmt.Sprint(seen...))
}

// until waits for fn to be true, at most that long.
func until(d time.Duration, fn func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if fn() {
			return true
		}
	}
	return fn()
}

// informed: what an informer knows equals what a list says, also after the server was killed and came back in between.
func informed(config *rest.Config) {
	ctx := context.Background()
	set := kubernetes.NewForConfigOrDie(config)
	maps := set.CoreV1().ConfigMaps("default")
	factory := informers.NewSharedInformerFactoryWithOptions(set, 0, informers.WithNamespace("default"))
	informer := factory.Core().V1().ConfigMaps().Informer()
	var added, updated, deleted atomic.Int64
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { added.Add(1) },
		UpdateFunc: func(any, any) { updated.Add(1) },
		DeleteFunc: func(any) { deleted.Add(1) },
	})
	check("informer: a handler", err == nil, err)
	stop := make(chan struct{})
	defer close(stop)
	factory.Start(stop)
	check("informer: synced", cache.WaitForCacheSync(stop, informer.HasSynced))
	before := added.Load()
	const n = 60
	do := func(what string, fn func(i int) error) {
		for i := range n {
			if !until(60*time.Second, func() bool { err = fn(i); return err == nil }) {
				check("informer: "+what, false, err)
				return
			}
		}
	}
	name := func(i int) string { return fmt.Sprintf("informed-%d", i) }
	do("create", func(i int) error {
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name(i), Labels: map[string]string{"t": "i"}}}, metav1.CreateOptions{})
		return err
	})
	check("informer: every creation is told", until(10*time.Second, func() bool { return added.Load()-before == n }), added.Load()-before)
	fmt.Println("kill") // the script kills the server now and starts it again
	time.Sleep(2 * time.Second)
	do("update through the server's restart", func(i int) error {
		m, err := maps.Get(ctx, name(i), metav1.GetOptions{})
		if err != nil {
			return err
		}
		m.Data = map[string]string{"i": fmt.Sprint(i)}
		_, err = maps.Update(ctx, m, metav1.UpdateOptions{})
		return err
	})
	do("delete", func(i int) error {
		if i%2 == 1 {
			return nil
		}
		return maps.Delete(ctx, name(i), metav1.DeleteOptions{})
	})
	same := func() bool {
		list, err := maps.List(ctx, metav1.ListOptions{})
		if err != nil || len(list.Items) != len(informer.GetStore().List()) {
			return false
		}
		for i := range list.Items {
			o, there, _ := informer.GetStore().GetByKey("default/" + list.Items[i].Name)
			if !there || !reflect.DeepEqual(o.(*corev1.ConfigMap).Data, list.Items[i].Data) || o.(*corev1.ConfigMap).ResourceVersion != list.Items[i].ResourceVersion {
				return false
			}
		}
		return true
	}
	check("informer: its copy is the server's, after a restart", until(30*time.Second, same), len(informer.GetStore().List()))
	check("informer: deletions are told", until(10*time.Second, func() bool { return deleted.Load() == n/2 }), deleted.Load())
	check("informer: changes are told", updated.Load() >= n/2, updated.Load())
	check("informer: a collection goes at once", maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "t=i"}) == nil)
	check("informer: and it knows", until(10*time.Second, func() bool { return deleted.Load() == n }), deleted.Load())
}

// elected: two candidates, one leads; the other takes over when it falls silent, and at once when it lets go.
func elected(config *rest.Config) {
	set := kubernetes.NewForConfigOrDie(config)
	var mu sync.Mutex
	leader := ""
	leads := func() string { mu.Lock(); defer mu.Unlock(); return leader }
	start := func(id string, release bool) context.CancelFunc {
		ctx, cancel := context.WithCancel(context.Background())
		lock := &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Name: "peer", Namespace: "default"}, Client: set.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: id}}
		go leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{Lock: lock, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second,
			RetryPeriod: 300 * time.Millisecond, ReleaseOnCancel: release, Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { mu.Lock(); leader = id; mu.Unlock() },
				OnStoppedLeading: func() {}}})
		return cancel
	}
	a := start("a", false)
	check("election: a leads", until(10*time.Second, func() bool { return leads() == "a" }), leads())
	b := start("b", true)
	time.Sleep(4 * time.Second)
	check("election: b waits", leads() == "a", leads())
	a()
	check("election: b takes over from who is silent", until(15*time.Second, func() bool { return leads() == "b" }), leads())
	c := start("c", true)
	time.Sleep(time.Second)
	b()
	check("election: c from who lets go", until(15*time.Second, func() bool { return leads() == "c" }), leads())
	lease, err := set.CoordinationV1().Leases("default").Get(context.Background(), "peer", metav1.GetOptions{})
	check("election: the lease says so", err == nil && *lease.Spec.HolderIdentity == "c" && *lease.Spec.LeaseTransitions == 2, lease, err)
	c()
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		panic(err)
	}
	config.QPS, config.Burst = -1, 0
	for _, what := range os.Args[1:] {
		switch what {
		case "informers":
			informed(config)
		case "election":
			elected(config)
		case "manager":
			managed(config)
		}
	}
	if failed {
		os.Exit(1)
	}
}
