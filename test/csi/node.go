// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func internal(err error) error { return status.Error(codes.Internal, err.Error()) }

// ---- mounts ------------------------------------------------------------------------------------------------------------

func bind(from, to string, readOnly bool) error {
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	if !readOnly {
		return nil
	}
	err := syscall.Mount("", to, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	if err != nil {
		syscall.Unmount(to, syscall.MNT_DETACH)
	}
	return err
}

func unmountAll(path string) error {
	for {
		err := syscall.Unmount(path, 0)
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func mounted(path string) bool {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == path {
			return true
		}
	}
	return false
}

// The loop device of a volume that is one, attached once.
func (d *driver) loop(v *volume) (string, error) {
	u := d.here(v)
	if u.Loop != "" {
		if _, err := os.Stat("/sys/block/" + filepath.Base(u.Loop) + "/loop/backing_file"); err == nil {
			return u.Loop, nil
		}
	}
	out, err := exec.Command("losetup", "--show", "-f", d.path(v)).CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	u.Loop = strings.TrimSpace(string(out))
	return u.Loop, nil
}

func (d *driver) unloop(v *volume) error {
	u := d.here(v)
	if u.Loop == "" {
		return nil
	}
	out, err := exec.Command("losetup", "-d", u.Loop).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "No such device") {
		return errors.New(string(out))
	}
	u.Loop = ""
	return nil
}

// ---- staging -------------------------------------------------------------------------------------------------------------

func (d *driver) NodeStageVolume(_ context.Context, q *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if q.GetStagingTargetPath() == "" {
		return nil, invalid("staging path is missing")
	}
	if q.GetVolumeCapability() == nil {
		return nil, invalid("volume capability is missing")
	}
	v, err := d.find(q.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if d.attach && q.GetPublishContext() != nil && q.GetPublishContext()["attached"] != d.nodeID {
		return nil, status.Error(codes.FailedPrecondition, "the volume is not attached to this node")
	}
	if v.Block {
		_, err = d.loop(v)
	} else if !mounted(q.GetStagingTargetPath()) {
		if err = os.MkdirAll(q.GetStagingTargetPath(), 0o750); err == nil {
			err = bind(d.path(v), q.GetStagingTargetPath(), false)
		}
	}
	if err != nil {
		return nil, internal(err)
	}
	u := d.here(v)
	u.Staged = add(u.Staged, q.GetStagingTargetPath())
	return &csi.NodeStageVolumeResponse{}, d.save()
}

func (d *driver) NodeUnstageVolume(_ context.Context, q *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if q.GetStagingTargetPath() == "" {
		return nil, invalid("staging path is missing")
	}
	if q.GetVolumeId() == "" {
		return nil, invalid("volume id is missing")
	}
	v := d.store.Volumes[q.GetVolumeId()]
	if v == nil {
		return &csi.NodeUnstageVolumeResponse{}, nil
	}
	u := d.here(v)
	if len(u.Published) > 0 {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is still published", v.ID)
	}
	err := unmountAll(q.GetStagingTargetPath())
	if err == nil && v.Block {
		err = d.unloop(v)
	}
	if err != nil {
		return nil, internal(err)
	}
	u.Staged = remove(u.Staged, q.GetStagingTargetPath())
	return &csi.NodeUnstageVolumeResponse{}, d.save()
}

// ---- publishing --------------------------------------------------------------------------------------------------------------

// A volume that lives as long as its pod.
func (d *driver) ephemeral(q *csi.NodePublishVolumeRequest) (*volume, error) {
	v := &volume{ID: q.GetVolumeId(), Name: q.GetVolumeId(), Size: defaultSize, Ephemeral: true}
	if err := d.allocate(v); err != nil {
		return nil, internal(err)
	}
	d.store.Volumes[v.ID] = v
	return v, nil
}

func (d *driver) publish(v *volume, q *csi.NodePublishVolumeRequest) error {
	target := q.GetTargetPath()
	if mounted(target) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	if v.Block {
		dev, err := d.loop(v)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(target, os.O_CREATE|os.O_RDWR, 0o640)
		if err != nil {
			return err
		}
		f.Close()
		return bind(dev, target, q.GetReadonly())
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return err
	}
	from := q.GetStagingTargetPath()
	if from == "" {
		from = d.path(v)
	}
	if g := q.GetVolumeCapability().GetMount().GetVolumeMountGroup(); g != "" {
		gid, _ := strconv.Atoi(g)
		if err := os.Chown(d.path(v), -1, gid); err != nil {
			return err
		}
		if err := os.Chmod(d.path(v), 0o2770); err != nil {
			return err
		}
	}
	return bind(from, target, q.GetReadonly())
}

func (d *driver) NodePublishVolume(_ context.Context, q *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if q.GetTargetPath() == "" {
		return nil, invalid("target path is missing")
	}
	if q.GetVolumeCapability() == nil {
		return nil, invalid("volume capability is missing")
	}
	v, err := d.find(q.GetVolumeId())
	if q.GetVolumeContext()["csi.storage.k8s.io/ephemeral"] == "true" && status.Code(err) == codes.NotFound {
		v, err = d.ephemeral(q)
	}
	if err != nil {
		return nil, err
	}
	if d.stage && !v.Ephemeral && q.GetStagingTargetPath() == "" {
		return nil, status.Error(codes.FailedPrecondition, "staging path is missing")
	}
	if q.GetVolumeCapability().GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER {
		for path := range d.here(v).Published {
			if path != q.GetTargetPath() {
				return nil, status.Errorf(codes.FailedPrecondition, "the one writer has it at %s", path)
			}
		}
	}
	if err := d.publish(v, q); err != nil {
		return nil, internal(err)
	}
	d.here(v).Published[q.GetTargetPath()] = q.GetStagingTargetPath()
	return &csi.NodePublishVolumeResponse{}, d.save()
}

func (d *driver) NodeUnpublishVolume(_ context.Context, q *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if q.GetTargetPath() == "" {
		return nil, invalid("target path is missing")
	}
	if q.GetVolumeId() == "" {
		return nil, invalid("volume id is missing")
	}
	if err := unmountAll(q.GetTargetPath()); err != nil {
		return nil, internal(err)
	}
	if err := os.Remove(q.GetTargetPath()); err != nil && !os.IsNotExist(err) {
		return nil, internal(err)
	}
	v := d.store.Volumes[q.GetVolumeId()]
	if v == nil {
		return &csi.NodeUnpublishVolumeResponse{}, nil
	}
	u := d.here(v)
	delete(u.Published, q.GetTargetPath())
	if v.Ephemeral && len(u.Published) == 0 {
		os.RemoveAll(d.path(v))
		delete(d.store.Volumes, v.ID)
	}
	return &csi.NodeUnpublishVolumeResponse{}, d.save()
}

// ---- the rest ---------------------------------------------------------------------------------------------------------------------

func (d *driver) NodeExpandVolume(_ context.Context, q *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	if q.GetVolumePath() == "" {
		return nil, invalid("volume path is missing")
	}
	v, err := d.find(q.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if u := d.here(v); v.Block && u.Loop != "" {
		exec.Command("losetup", "-c", u.Loop).Run()
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: max(v.Size, q.GetCapacityRange().GetRequiredBytes())}, nil
}

// A directory has no size of its own: what was asked for is the capacity, what lies in it is used.
func (d *driver) NodeGetVolumeStats(_ context.Context, q *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	if q.GetVolumePath() == "" {
		return nil, invalid("volume path is missing")
	}
	v, err := d.find(q.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(q.GetVolumePath()); err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	var used, files int64
	filepath.Walk(d.path(v), func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			used += info.Size()
			files++
		}
		return nil
	})
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: v.Size, Used: used, Available: max(v.Size-used, 0)},
		{Unit: csi.VolumeUsage_INODES, Total: 1000, Used: files, Available: max(1000-files, 0)},
	}}, nil
}

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.nodeID, MaxVolumesPerNode: d.maxVolumes, AccessibleTopology: d.segments()}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	types := []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS, csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
	if d.stage {
		types = append(types, csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME)
	}
	if d.mountGroup {
		types = append(types, csi.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP)
	}
	out := &csi.NodeGetCapabilitiesResponse{}
	for _, t := range types {
		out.Capabilities = append(out.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}}})
	}
	return out, nil
}
