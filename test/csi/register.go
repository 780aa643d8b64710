// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// What node-driver-registrar does: a socket beside others that tells the kubelet where the driver is.
type registrar struct {
	registration.UnimplementedRegistrationServer
	d *driver
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: r.d.name, SupportedVersions: []string{"1.0.0"},
		Endpoint: strings.TrimPrefix(strings.TrimPrefix(r.d.endpoint, "unix:"), "//"),
	}, nil
}

func (r *registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	log.Printf("registered: %v %s", s.PluginRegistered, s.Error)
	return &registration.RegistrationStatusResponse{}, nil
}

func (d *driver) register() {
	path := filepath.Join(d.registry, d.name+"-reg.sock")
	l, err := listen("unix:" + path)
	if err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		os.Remove(path)
		os.Exit(0)
	}()
	s := grpc.NewServer()
	registration.RegisterRegistrationServer(s, &registrar{d: d})
	log.Fatal(s.Serve(l))
}
