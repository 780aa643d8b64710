// SPDX-License-Identifier: Apache-2.0

// A DRA driver for tests: its devices are names, each of which gives a container an environment variable and a device
// node (of /dev/null) by CDI. Every call is a line of JSON in <state>/calls.log; a file <state>/fail.<Method> makes that
// call fail with its text; <state>/unhealthy names devices that are not well.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

const driverName = "dra.cube.test"
const cdiKind = driverName + "/gpu"

type driver struct {
	state, cdi string
	names      []string
	mutex      sync.Mutex
}

func (d *driver) note(fields map[string]any) {
	line, _ := json.Marshal(fields)
	f, err := os.OpenFile(filepath.Join(d.state, "calls.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, string(line))
}

func (d *driver) wantedFailure(method string) error {
	text, err := os.ReadFile(filepath.Join(d.state, "fail."+method))
	if err != nil {
		return nil
	}
	return errors.New(strings.TrimSpace(string(text)))
}

func (d *driver) specFile(claim types.UID) string {
	return filepath.Join(d.cdi, driverName+"-"+string(claim)+".json")
}

func variable(device string) string {
	return "DRA_" + strings.ToUpper(strings.ReplaceAll(device, "-", "_"))
}

func (d *driver) prepare(claim *resourceapi.ResourceClaim) kubeletplugin.PrepareResult {
	var devices []kubeletplugin.Device
	var cdiDevices []any
	for _, r := range claim.Status.Allocation.Devices.Results {
		if r.Driver != driverName {
			continue
		}
		name := string(claim.UID) + "-" + r.Device
		admin := r.AdminAccess != nil && *r.AdminAccess
		cdiDevices = append(cdiDevices, map[string]any{
			"name": name,
			"containerEdits": map[string]any{
				"env": []string{fmt.Sprintf("%s=%s,admin=%t", variable(r.Device), r.Request, admin)},
				"deviceNodes": []any{map[string]any{"path": "/dev/dra-" + r.Device, "hostPath": "/dev/null",
					"type": "c", "major": 1, "minor": 3}},
			},
		})
		devices = append(devices, kubeletplugin.Device{Requests: []string{r.Request}, PoolName: r.Pool, DeviceName: r.Device,
			CDIDeviceIDs: []string{cdiKind + "=" + name}})
	}
	text, _ := json.Marshal(map[string]any{"cdiVersion": "0.5.0", "kind": cdiKind, "devices": cdiDevices})
	path := d.specFile(claim.UID)
	if err := os.WriteFile(path+".tmp", text, 0o644); err != nil {
		return kubeletplugin.PrepareResult{Err: err}
	}
	return kubeletplugin.PrepareResult{Err: os.Rename(path+".tmp", path), Devices: devices}
}

func (d *driver) PrepareResourceClaims(_ context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	result := map[types.UID]kubeletplugin.PrepareResult{}
	for _, claim := range claims {
		d.note(map[string]any{"method": "Prepare", "claim": claim.Name, "uid": claim.UID})
		if err := d.wantedFailure("Prepare"); err != nil {
			result[claim.UID] = kubeletplugin.PrepareResult{Err: err}
		} else {
			result[claim.UID] = d.prepare(claim)
		}
	}
	return result, nil
}

func (d *driver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	result := map[types.UID]error{}
	for _, claim := range claims {
		d.note(map[string]any{"method": "Unprepare", "claim": claim.Name, "uid": claim.UID})
		err := d.wantedFailure("Unprepare")
		if err == nil {
			if err = os.Remove(d.specFile(claim.UID)); errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
		result[claim.UID] = err
	}
	return result, nil
}

func (d *driver) HandleError(_ context.Context, err error, msg string) {
	fmt.Fprintln(os.Stderr, msg+":", err)
}

func (d *driver) WatchHealthStatus(ctx context.Context, reports chan<- kubeletplugin.DeviceHealthReport) error {
	for {
		unhealthy, _ := os.ReadFile(filepath.Join(d.state, "unhealthy"))
		var report kubeletplugin.DeviceHealthReport
		for _, name := range d.names {
			h := kubeletplugin.DeviceHealth{PoolName: *nodeName, DeviceName: name, Health: kubeletplugin.HealthStatusHealthy}
			if strings.Contains(string(unhealthy), name) {
				h.Health, h.Message = kubeletplugin.HealthStatusUnhealthy, "it smokes"
			}
			report.Devices = append(report.Devices, h)
		}
		select {
		case reports <- report:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *driver) devices() []resourceapi.Device {
	var list []resourceapi.Device
	for i, name := range d.names {
		index, kind, model := int64(i), "gpu", []string{"plain", "fancy"}[i%2]
		list = append(list, resourceapi.Device{
			Name: name,
			Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{
				"index": {IntValue: &index}, "kind": {StringValue: &kind}, "model": {StringValue: &model}},
			Capacity: map[resourceapi.QualifiedName]resourceapi.DeviceCapacity{"memory": {Value: resource.MustParse("1Gi")}},
		})
	}
	return list
}

var (
	kubeconfig = flag.String("kubeconfig", "", "how to reach the API server")
	nodeName   = flag.String("node-name", "", "name of the node")
	root       = flag.String("kubelet-root", "/var/lib/kubelet", "the kubelet's folder")
	state      = flag.String("state", "", "folder of calls.log and the rest")
	cdi        = flag.String("cdi-dir", "/var/run/cdi", "where CDI specifications go")
	count      = flag.Int("devices", 4, "how many devices there are")
	uid        = flag.String("uid", "", "of this process, for rolling updates: several may run")
)

func run() error {
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	d := &driver{state: *state, cdi: *cdi}
	for i := 0; i < *count; i++ {
		d.names = append(d.names, fmt.Sprintf("gpu-%d", i))
	}
	data := filepath.Join(*root, "plugins", driverName)
	for _, dir := range []string{*state, *cdi, data, filepath.Join(*root, "plugins_registry")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	options := []kubeletplugin.Option{
		kubeletplugin.DriverName(driverName), kubeletplugin.KubeClient(client), kubeletplugin.NodeName(*nodeName),
		kubeletplugin.RegistrarDirectoryPath(filepath.Join(*root, "plugins_registry")), kubeletplugin.PluginDataDirectoryPath(data),
	}
	if *uid != "" {
		options = append(options, kubeletplugin.RollingUpdate(types.UID(*uid)))
	}
	helper, err := kubeletplugin.Start(ctx, d, options...)
	if err != nil {
		return err
	}
	defer helper.Stop()
	pool := resourceslice.Pool{Slices: []resourceslice.Slice{{Devices: d.devices()}}}
	if err := helper.PublishResources(ctx, resourceslice.DriverResources{Pools: map[string]resourceslice.Pool{*nodeName: pool}}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
