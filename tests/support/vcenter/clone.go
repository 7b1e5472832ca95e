package main

import (
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// template clones as vCenter does: in its own time, to a name that is free, and with the whole specification.
type template struct{ simulator.VirtualMachine }

func (t *template) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	task := simulator.CreateTask(req.This, "cloneVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return t.clone(ctx, req)
	})
	if delay := settings.seconds(func(s *Settings) float64 { return s.CloneSeconds }); delay > 0 {
		time.AfterFunc(delay, func() {
			world.Lock()
			defer world.Unlock()
			task.Run()
		})
	} else {
		task.Run()
	}
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: task.Self}}
}

func (t *template) clone(ctx *simulator.Context, req *types.CloneVM_Task) (types.AnyType, types.BaseMethodFault) {
	folder, ok := simulator.Map.Get(req.Folder).(*simulator.Folder)
	if !ok {
		return nil, &types.ManagedObjectNotFound{Obj: req.Folder}
	}
	if taken := simulator.Map.FindByName(req.Name, folder.ChildEntity); taken != nil {
		return nil, &types.DuplicateName{Name: req.Name, Object: taken.Reference()}
	}
	t.ensureOwnDevices()
	body := t.VirtualMachine.CloneVMTask(ctx, req).(*methods.CloneVM_TaskBody)
	made := simulator.Map.Get(body.Res.Returnval).(*simulator.Task)
	if made.Info.Error != nil {
		return nil, made.Info.Error.Fault
	}
	vm := resultOf(made.Self)
	if config := req.Spec.Config; config != nil {
		vm.Config.Annotation = config.Annotation
	}
	if host := req.Spec.Location.Host; host != nil {
		simulator.Map.Update(vm, []types.PropertyChange{
			{Name: "runtime.host", Val: host}, {Name: "summary.runtime.host", Val: host},
		})
	}
	t.link(vm, req.Spec.Location.DiskMoveType)
	if req.Spec.PowerOn && !settings.takes(func(s *Settings) *int { return &s.NoPowerOn }) {
		vm.PowerOnVMTask(ctx, &types.PowerOnVM_Task{This: vm.Self})
	}
	return vm.Self, nil
}

// ensureOwnDevices gives the simulator copies of the template's disks: it changes those that it clones.
func (t *template) ensureOwnDevices() {
	for i, device := range t.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			copied, backing := *disk, *disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
			copied.Backing = &backing
			t.Config.Hardware.Device[i] = &copied
			t.disksBefore(&copied)
		}
	}
}

var templateDisk string

// disksBefore keeps the name of the template's file, which the simulator blanks when it clones.
func (t *template) disksBefore(disk *types.VirtualDisk) {
	backing := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if backing.FileName != "" {
		templateDisk = backing.FileName
	} else {
		backing.FileName = templateDisk
	}
}

// link makes the disks of a linked clone children of the template's.
func (t *template) link(vm *simulator.VirtualMachine, move string) {
	if move != string(types.VirtualMachineRelocateDiskMoveOptionsMoveChildMostDiskBacking) {
		return
	}
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			backing := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
			backing.Parent = &types.VirtualDiskFlatVer2BackingInfo{
				VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: templateDisk},
			}
		}
	}
}

// resultOf returns the VM that a task made, nil if it made none.
func resultOf(task types.ManagedObjectReference) *simulator.VirtualMachine {
	ref, ok := simulator.Map.Get(task).(*simulator.Task).Info.Result.(types.ManagedObjectReference)
	if !ok {
		return nil
	}
	vm, _ := simulator.Map.Get(ref).(*simulator.VirtualMachine)
	return vm
}
