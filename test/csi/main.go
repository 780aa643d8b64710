// SPDX-License-Identifier: Apache-2.0

// A CSI driver whose volumes are directories and image files of this machine, for tests: identity, controller and node service,
// the registrar's part (it tells the kubelet of itself) and, with --kubeconfig, the parts of provisioner and resizer.
// Every call is written to <state>/calls.log as a line of JSON: {"method": ..., "node": ..., "request": ...}.
// Drivers of several nodes share one <state>; one of them is the controller that attacher and provisioner speak to.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type options struct {
	name, endpoint, state, nodeID, topology, registry, kubeconfig string
	attach, stage, mountGroup                                     bool
	maxVolumes                                                    int64
}

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	options
	mu     sync.Mutex
	store  store
	calls  *os.File
	locked *os.File // while a call changes the store
	self   *os.File // while this node lives
}

func newDriver(o options) (*driver, error) {
	if err := os.MkdirAll(filepath.Join(o.state, "volumes"), 0o750); err != nil {
		return nil, err
	}
	calls, err := os.OpenFile(filepath.Join(o.state, "calls.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	locked, err := os.OpenFile(filepath.Join(o.state, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	d := &driver{options: o, calls: calls, locked: locked}
	if err := d.enlist(); err != nil {
		return nil, err
	}
	return d, d.forget()
}

// Tests make a call fail by a file <state>/fail.<Method> with "<code> <message>", until they remove it.
func (d *driver) told(method string) error {
	text, err := os.ReadFile(filepath.Join(d.state, "fail."+method))
	if err != nil {
		return nil
	}
	var code codes.Code
	word, message, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if err := json.Unmarshal([]byte(`"`+word+`"`), &code); err != nil {
		code = codes.Internal
	}
	return status.Error(code, message)
}

func (d *driver) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	line, _ := json.Marshal(map[string]any{"method": method, "node": d.nodeID, "request": req})
	if err := d.lock(); err != nil {
		return nil, internal(err)
	}
	defer d.unlock()
	fmt.Fprintf(d.calls, "%s\n", line)
	if err := d.told(method); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func listen(endpoint string) (net.Listener, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(endpoint, "unix:"), "//")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.Listen("unix", path)
}

func (d *driver) server() *grpc.Server {
	s := grpc.NewServer(grpc.UnaryInterceptor(d.intercept))
	csi.RegisterIdentityServer(s, d)
	csi.RegisterControllerServer(s, d)
	csi.RegisterNodeServer(s, d)
	return s
}

func main() {
	var o options
	host, _ := os.Hostname()
	flag.StringVar(&o.name, "name", "csi.cube.test", "of the driver")
	flag.StringVar(&o.endpoint, "endpoint", "unix:///csi/csi.sock", "to serve at")
	flag.StringVar(&o.state, "state", "/csi-data", "folder for volumes")
	flag.StringVar(&o.nodeID, "node-id", host, "of this node for the driver")
	flag.StringVar(&o.topology, "topology", "", "key=value of this node; empty: none")
	flag.StringVar(&o.registry, "registry", "", "the kubelet's plugins_registry; empty: not registered")
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "provision and resize with it; empty: neither")
	flag.BoolVar(&o.attach, "attach", true, "volumes must be attached")
	flag.BoolVar(&o.stage, "stage", true, "volumes must be staged")
	flag.BoolVar(&o.mountGroup, "mount-group", false, "the driver gives volumes their group")
	flag.Int64Var(&o.maxVolumes, "max-volumes", 0, "on a node; 0: no limit")
	flag.Parse()
	d, err := newDriver(o)
	if err != nil {
		log.Fatal(err)
	}
	l, err := listen(o.endpoint)
	if err != nil {
		log.Fatal(err)
	}
	if o.registry != "" {
		go d.register()
	}
	if o.kubeconfig != "" {
		go d.provision()
	}
	log.Fatal(d.server().Serve(l))
}
