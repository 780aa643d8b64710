// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// What external-provisioner and external-resizer do, by looking at everything once in a while.
type provisioner struct {
	*driver
	api *kubernetes.Clientset
}

func (d *driver) provision() {
	config, err := clientcmd.BuildConfigFromFlags("", d.kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	p := &provisioner{d, kubernetes.NewForConfigOrDie(config)}
	for ; ; time.Sleep(300 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := p.look(ctx); err != nil {
			log.Print(err)
		}
		cancel()
	}
}

// One thing at a time with the calls of others.
func (p *provisioner) alone(fn func() error) error {
	if err := p.lock(); err != nil {
		return err
	}
	defer p.unlock()
	return fn()
}

func (p *provisioner) look(ctx context.Context) error {
	claims, err := p.api.CoreV1().PersistentVolumeClaims("").List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	volumes, err := p.api.CoreV1().PersistentVolumes().List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	for i := range claims.Items {
		if err := p.claim(ctx, &claims.Items[i], volumes.Items); err != nil {
			log.Print(err)
		}
	}
	for i := range volumes.Items {
		if err := p.release(ctx, &volumes.Items[i]); err != nil {
			log.Print(err)
		}
	}
	return nil
}

func (p *provisioner) claim(ctx context.Context, c *core.PersistentVolumeClaim, volumes []core.PersistentVolume) error {
	if c.Annotations["volume.kubernetes.io/storage-provisioner"] != p.name || c.DeletionTimestamp != nil {
		return nil
	}
	if c.Spec.VolumeName == "" {
		return p.create(ctx, c)
	}
	i := slices.IndexFunc(volumes, func(v core.PersistentVolume) bool { return v.Name == c.Spec.VolumeName })
	if i < 0 || c.Status.Phase != core.ClaimBound {
		return nil
	}
	return p.resize(ctx, c, &volumes[i])
}

func secretRef(parameters map[string]string, what string) *core.SecretReference {
	name, ns := parameters["csi.storage.k8s.io/"+what+"-secret-name"], parameters["csi.storage.k8s.io/"+what+"-secret-namespace"]
	if name == "" {
		return nil
	}
	return &core.SecretReference{Name: name, Namespace: ns}
}

func (p *provisioner) create(ctx context.Context, c *core.PersistentVolumeClaim) error {
	class, err := p.api.StorageV1().StorageClasses().Get(ctx, *c.Spec.StorageClassName, meta.GetOptions{})
	if err != nil {
		return err
	}
	wait := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storage.VolumeBindingWaitForFirstConsumer
	if wait && c.Annotations["volume.kubernetes.io/selected-node"] == "" {
		return nil
	}
	capability := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER}}
	if c.Spec.VolumeMode != nil && *c.Spec.VolumeMode == core.PersistentVolumeBlock {
		capability.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	} else {
		capability.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}
	}
	size := c.Spec.Resources.Requests[core.ResourceStorage]
	name := "pvc-" + string(c.UID)
	var made *csi.CreateVolumeResponse
	err = p.alone(func() (err error) {
		made, err = p.CreateVolume(ctx, &csi.CreateVolumeRequest{Name: name, Parameters: class.Parameters,
			CapacityRange:      &csi.CapacityRange{RequiredBytes: size.Value()},
			VolumeCapabilities: []*csi.VolumeCapability{capability}})
		return err
	})
	if err != nil {
		return err
	}
	pv := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": p.name}},
		Spec: core.PersistentVolumeSpec{
			Capacity:         core.ResourceList{core.ResourceStorage: *resource.NewQuantity(made.Volume.CapacityBytes, resource.BinarySI)},
			AccessModes:      c.Spec.AccessModes,
			StorageClassName: class.Name,
			MountOptions:     class.MountOptions,
			VolumeMode:       c.Spec.VolumeMode,
			ClaimRef: &core.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name,
				UID: c.UID, ResourceVersion: c.ResourceVersion},
			PersistentVolumeSource: core.PersistentVolumeSource{CSI: &core.CSIPersistentVolumeSource{
				Driver: p.name, VolumeHandle: made.Volume.VolumeId, VolumeAttributes: made.Volume.VolumeContext,
				FSType:             class.Parameters["csi.storage.k8s.io/fstype"],
				NodeStageSecretRef: secretRef(class.Parameters, "node-stage"), NodePublishSecretRef: secretRef(class.Parameters, "node-publish"),
			}},
		},
	}
	if class.ReclaimPolicy != nil {
		pv.Spec.PersistentVolumeReclaimPolicy = *class.ReclaimPolicy
	}
	if t := p.segments(); t != nil {
		var terms []core.NodeSelectorRequirement
		for k, v := range t.Segments {
			terms = append(terms, core.NodeSelectorRequirement{Key: k, Operator: core.NodeSelectorOpIn, Values: []string{v}})
		}
		pv.Spec.NodeAffinity = &core.VolumeNodeAffinity{Required: &core.NodeSelector{
			NodeSelectorTerms: []core.NodeSelectorTerm{{MatchExpressions: terms}}}}
	}
	_, err = p.api.CoreV1().PersistentVolumes().Create(ctx, pv, meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *provisioner) release(ctx context.Context, v *core.PersistentVolume) error {
	if v.Annotations["pv.kubernetes.io/provisioned-by"] != p.name || v.Spec.CSI == nil || v.Status.Phase != core.VolumeReleased ||
		v.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete {
		return nil
	}
	err := p.alone(func() error {
		_, err := p.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: v.Spec.CSI.VolumeHandle})
		return err
	})
	if err != nil {
		return err
	}
	return p.api.CoreV1().PersistentVolumes().Delete(ctx, v.Name, meta.DeleteOptions{})
}

// ---- growing ---------------------------------------------------------------------------------------------------------------

func (p *provisioner) resize(ctx context.Context, c *core.PersistentVolumeClaim, v *core.PersistentVolume) error {
	want, has := c.Spec.Resources.Requests[core.ResourceStorage], v.Spec.Capacity[core.ResourceStorage]
	if want.Cmp(has) <= 0 || v.Spec.CSI == nil {
		return nil
	}
	err := p.alone(func() error {
		_, err := p.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: v.Spec.CSI.VolumeHandle,
			CapacityRange: &csi.CapacityRange{RequiredBytes: want.Value()}})
		return err
	})
	if err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"spec":{"capacity":{"storage":%q}}}`, want.String())
	if _, err := p.api.CoreV1().PersistentVolumes().Patch(ctx, v.Name, types.MergePatchType, patch, meta.PatchOptions{}); err != nil {
		return err
	}
	status := map[string]any{"status": map[string]any{
		"allocatedResources":        map[string]string{"storage": want.String()},
		"allocatedResourceStatuses": map[string]string{"storage": "NodeResizePending"},
		"conditions": []any{map[string]any{"type": "FileSystemResizePending", "status": "True",
			"lastTransitionTime": meta.Now(), "message": "Waiting for user to (re-)start a pod to finish file system resize of volume on node."}},
	}}
	patch, err = json.Marshal(status)
	if err != nil {
		return err
	}
	_, err = p.api.CoreV1().PersistentVolumeClaims(c.Namespace).Patch(ctx, c.Name, types.MergePatchType, patch, meta.PatchOptions{}, "status")
	return err
}
