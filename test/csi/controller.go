// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	defaultSize = 1 << 20
	capacity    = 1 << 40
)

func invalid(text string) error { return status.Error(codes.InvalidArgument, text) }

func (d *driver) find(id string) (*volume, error) {
	if id == "" {
		return nil, invalid("volume id is missing")
	}
	v := d.store.Volumes[id]
	if v == nil {
		return nil, status.Errorf(codes.NotFound, "volume %s does not exist", id)
	}
	return v, nil
}

func wantedSize(r *csi.CapacityRange) (int64, error) {
	size := max(r.GetRequiredBytes(), 0)
	if size == 0 {
		size = defaultSize
	}
	if r.GetLimitBytes() > 0 && size > r.GetLimitBytes() {
		size = r.GetLimitBytes()
	}
	if r.GetRequiredBytes() > 0 && size < r.GetRequiredBytes() || size > capacity {
		return 0, status.Error(codes.OutOfRange, "no such size")
	}
	return size, nil
}

func (d *driver) segments() *csi.Topology {
	key, value, ok := strings.Cut(d.topology, "=")
	if !ok {
		return nil
	}
	return &csi.Topology{Segments: map[string]string{key: value}}
}

func (d *driver) describe(v *volume) *csi.Volume {
	out := &csi.Volume{VolumeId: v.ID, CapacityBytes: v.Size, VolumeContext: map[string]string{"name": v.Name}}
	if t := d.segments(); t != nil {
		out.AccessibleTopology = []*csi.Topology{t}
	}
	return out
}

// Makes the directory or the file that is the volume.
func (d *driver) allocate(v *volume) error {
	if !v.Block {
		return os.MkdirAll(d.path(v), 0o777)
	}
	f, err := os.OpenFile(d.path(v), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(v.Size)
}

func (d *driver) CreateVolume(_ context.Context, q *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if q.GetName() == "" {
		return nil, invalid("name is missing")
	}
	if len(q.GetVolumeCapabilities()) == 0 {
		return nil, invalid("volume capabilities are missing")
	}
	if q.GetVolumeContentSource() != nil {
		return nil, invalid("volumes are made empty only")
	}
	size, err := wantedSize(q.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	if v := d.byName(q.GetName()); v != nil {
		r := q.GetCapacityRange()
		if v.Size < r.GetRequiredBytes() || r.GetLimitBytes() > 0 && v.Size > r.GetLimitBytes() {
			return nil, status.Errorf(codes.AlreadyExists, "volume %s has another size", v.Name)
		}
		return &csi.CreateVolumeResponse{Volume: d.describe(v)}, nil
	}
	sum := sha256.Sum256([]byte(q.GetName()))
	v := &volume{ID: fmt.Sprintf("vol-%x", sum[:8]), Name: q.GetName(), Size: size}
	for _, c := range q.GetVolumeCapabilities() {
		v.Block = v.Block || c.GetBlock() != nil
	}
	if err := d.allocate(v); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	d.store.Volumes[v.ID] = v
	return &csi.CreateVolumeResponse{Volume: d.describe(v)}, d.save()
}

func (d *driver) DeleteVolume(_ context.Context, q *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if q.GetVolumeId() == "" {
		return nil, invalid("volume id is missing")
	}
	v := d.store.Volumes[q.GetVolumeId()]
	if v == nil {
		return &csi.DeleteVolumeResponse{}, nil
	}
	for node := range v.On {
		if !d.alive(node) {
			delete(v.On, node)
		}
	}
	if len(v.Nodes) > 0 || len(v.On) > 0 {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is in use", v.ID)
	}
	if err := os.RemoveAll(d.path(v)); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	delete(d.store.Volumes, v.ID)
	return &csi.DeleteVolumeResponse{}, d.save()
}

func (d *driver) ControllerPublishVolume(_ context.Context, q *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	if q.GetNodeId() == "" {
		return nil, invalid("node id is missing")
	}
	if q.GetVolumeCapability() == nil {
		return nil, invalid("volume capability is missing")
	}
	v, err := d.find(q.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if !d.known(q.GetNodeId()) {
		return nil, status.Errorf(codes.NotFound, "node %s does not exist", q.GetNodeId())
	}
	if len(v.Nodes) > 0 && !slices.Contains(v.Nodes, q.GetNodeId()) {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is attached to %s", v.ID, v.Nodes[0])
	}
	v.Nodes = add(v.Nodes, q.GetNodeId())
	return &csi.ControllerPublishVolumeResponse{PublishContext: map[string]string{"attached": q.GetNodeId()}}, d.save()
}

func (d *driver) ControllerUnpublishVolume(_ context.Context, q *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	if q.GetVolumeId() == "" {
		return nil, invalid("volume id is missing")
	}
	v := d.store.Volumes[q.GetVolumeId()]
	if v == nil {
		return &csi.ControllerUnpublishVolumeResponse{}, nil
	}
	for node, u := range v.On {
		if q.GetNodeId() != "" && node != q.GetNodeId() {
			continue
		}
		if u.mounted() && d.alive(node) { // the promise of volumesInUse was broken
			return nil, status.Errorf(codes.FailedPrecondition, "volume %s is still mounted", v.ID)
		}
		delete(v.On, node)
	}
	if q.GetNodeId() == "" { // of all
		v.Nodes = nil
	}
	v.Nodes = remove(v.Nodes, q.GetNodeId())
	return &csi.ControllerUnpublishVolumeResponse{}, d.save()
}

func (d *driver) ValidateVolumeCapabilities(_ context.Context, q *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if len(q.GetVolumeCapabilities()) == 0 {
		return nil, invalid("volume capabilities are missing")
	}
	v, err := d.find(q.GetVolumeId())
	if err != nil {
		return nil, err
	}
	for _, c := range q.GetVolumeCapabilities() {
		if (c.GetBlock() != nil) != v.Block {
			return &csi.ValidateVolumeCapabilitiesResponse{Message: "it is of the other kind"}, nil
		}
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext: q.GetVolumeContext(), VolumeCapabilities: q.GetVolumeCapabilities(), Parameters: q.GetParameters()}}, nil
}

func (d *driver) ListVolumes(_ context.Context, q *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	ids, start := d.ids(), 0
	if t := q.GetStartingToken(); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil || n < 0 || n > len(ids) {
			return nil, status.Error(codes.Aborted, "no such token")
		}
		start = n
	}
	end := len(ids)
	if m := int(q.GetMaxEntries()); m > 0 {
		end = min(start+m, end)
	}
	out := &csi.ListVolumesResponse{}
	for _, id := range ids[start:end] {
		v := d.store.Volumes[id]
		out.Entries = append(out.Entries, &csi.ListVolumesResponse_Entry{
			Volume: d.describe(v), Status: &csi.ListVolumesResponse_VolumeStatus{PublishedNodeIds: slices.Clone(v.Nodes)}})
	}
	if end < len(ids) {
		out.NextToken = strconv.Itoa(end)
	}
	return out, nil
}

func (d *driver) GetCapacity(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	free := int64(capacity)
	for _, v := range d.store.Volumes {
		free -= v.Size
	}
	return &csi.GetCapacityResponse{AvailableCapacity: free}, nil
}

func (d *driver) ControllerExpandVolume(_ context.Context, q *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	if q.GetVolumeId() == "" {
		return nil, invalid("volume id is missing")
	}
	if q.GetCapacityRange() == nil {
		return nil, invalid("capacity range is missing")
	}
	v, err := d.find(q.GetVolumeId())
	if err != nil {
		return nil, err
	}
	size, err := wantedSize(q.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	if size > v.Size {
		v.Size = size
		if err := d.allocate(v); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: v.Size, NodeExpansionRequired: true}, d.save()
}

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	types := []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME, csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY, csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
	if d.attach {
		types = append(types, csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
			csi.ControllerServiceCapability_RPC_LIST_VOLUMES_PUBLISHED_NODES)
	}
	out := &csi.ControllerGetCapabilitiesResponse{}
	for _, t := range types {
		out.Capabilities = append(out.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}}})
	}
	return out, nil
}
